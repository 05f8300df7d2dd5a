/* CUDA's driver calls back on threads of its own: cuLaunchHostFunc. A kernel on the GPU counts in
 * memory that both sides see, and the host function behind it in the stream makes callbacks that
 * end in every way. The next kernel waits for it. Meanwhile a thread of the program's makes such
 * callbacks as well, and gives CUDA work between them. Argument: the driver's library.
 *
 * The driver's interface is declared here, so that no toolkit is needed. Names and values are those
 * of cuda.h (CUDA Driver API, "Data types used by CUDA driver"). */
#include "guest.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef unsigned long long CUdeviceptr;
enum { CU_STREAM_NON_BLOCKING = 1 };
enum { CU_MEMHOSTALLOC_PORTABLE = 1, CU_MEMHOSTALLOC_DEVICEMAP = 2 };
/* As many kernels as may wait in a stream, so that its queue does not fill. */
enum { STREAMS = 4, WAITING = 256 };

static int (*init)(unsigned);
static int (*get_device)(int *, int);
static int (*retain_context)(CUcontext *, int);
static int (*set_context)(CUcontext);
static int (*create_stream)(CUstream *, unsigned);
static int (*synchronize)(CUstream);
static int (*launch_host_function)(CUstream, void (*)(void *), void *);
static int (*allocate)(void **, size_t, unsigned);
static int (*device_pointer)(CUdeviceptr *, void *, unsigned);
static int (*load_module)(CUmodule *, const void *);
static int (*get_function)(CUfunction *, CUmodule, const char *);
static int (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     unsigned, CUstream, void **, void **);

static const struct {
    const char *name;
    void *function;
} functions[] = {
    {"cuInit", &init},
    {"cuDeviceGet", &get_device},
    {"cuDevicePrimaryCtxRetain", &retain_context},
    {"cuCtxSetCurrent", &set_context},
    {"cuStreamCreate", &create_stream},
    {"cuStreamSynchronize", &synchronize},
    {"cuLaunchHostFunc", &launch_host_function},
    {"cuMemHostAlloc", &allocate},
    {"cuMemHostGetDevicePointer_v2", &device_pointer},
    {"cuModuleLoadData", &load_module},
    {"cuModuleGetFunction", &get_function},
    {"cuLaunchKernel", &launch},
};

/* *word += 1, in the driver's assembly (PTX ISA). */
static const char kernel_text[] = ".version 6.3\n"
                                  ".target sm_70\n"
                                  ".address_size 64\n"
                                  ".visible .entry add_one(.param .u64 word) {\n"
                                  "    .reg .u64 %p; .reg .u32 %v;\n"
                                  "    ld.param.u64 %p, [word];\n"
                                  "    cvta.to.global.u64 %p, %p;\n"
                                  "    ld.global.u32 %v, [%p];\n"
                                  "    add.u32 %v, %v, 1;\n"
                                  "    st.global.u32 [%p], %v;\n"
                                  "    ret;\n"
                                  "}\n";

static CUcontext context;
static CUfunction kernel;
static int rounds;

struct stream {
    CUstream cuda;
    pthread_t launcher;
    /* Both sides see it. */
    volatile unsigned *word;
    int round, result;
};

static void fail(const char *what, int result) {
    fprintf(stderr, "cuda: %s: %d\n", what, result);
    exit(1);
}
static void works(const char *what, int result) {
    if (result) fail(what, result);
}

/* On a thread of CUDA's. */
static void after_kernel(void *arg) {
    struct stream *stream = arg;
    int round = stream->round++;
    if (stream->result) return;
    if (*stream->word != (unsigned)round + 1) stream->result = 100;
    else stream->result = guest_mix(round);
}

static void *launcher(void *arg) {
    struct stream *stream = arg;
    works("cuCtxSetCurrent", set_context(context));
    CUdeviceptr word;
    works("cuMemHostGetDevicePointer", device_pointer(&word, (void *)stream->word, 0));
    void *arguments[] = {&word};
    for (int round = 0; round < rounds; round++) {
        int result = launch(kernel, 1, 1, 1, 1, 1, 1, 0, stream->cuda, arguments, NULL);
        works("cuLaunchKernel", result);
        works("cuLaunchHostFunc", launch_host_function(stream->cuda, after_kernel, stream));
        works("a callback of a thread that uses CUDA", guest_mix(round));
        if (round % WAITING == WAITING - 1) works("cuStreamSynchronize", synchronize(stream->cuda));
    }
    works("cuStreamSynchronize", synchronize(stream->cuda));
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    rounds = atoi(getenv("ROUNDS"));
    void *driver = dlopen(argv[1], RTLD_NOW);
    if (!driver) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    for (unsigned i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *found = dlsym(driver, functions[i].name);
        if (!found) fail(functions[i].name, -1);
        *(void **)functions[i].function = found;
    }
    int device;
    CUmodule module;
    works("cuInit", init(0));
    works("cuDeviceGet", get_device(&device, 0));
    works("cuDevicePrimaryCtxRetain", retain_context(&context, device));
    works("cuCtxSetCurrent", set_context(context));
    works("cuModuleLoadData", load_module(&module, kernel_text));
    works("cuModuleGetFunction", get_function(&kernel, module, "add_one"));
    works("guest_start", guest_start());

    struct stream streams[STREAMS] = {0};
    for (int i = 0; i < STREAMS; i++) {
        struct stream *stream = &streams[i];
        void *word;
        works("cuStreamCreate", create_stream(&stream->cuda, CU_STREAM_NON_BLOCKING));
        const unsigned flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
        works("cuMemHostAlloc", allocate(&word, sizeof(unsigned), flags));
        stream->word = word;
        *stream->word = 0;
        works("pthread_create", pthread_create(&stream->launcher, NULL, launcher, stream));
    }
    for (int i = 0; i < STREAMS; i++) {
        pthread_join(streams[i].launcher, NULL);
        works("a callback of CUDA's thread", streams[i].result);
        if (streams[i].round != rounds) fail("host functions", streams[i].round);
    }
    guest_finish();
    return 200;
}
