/* A program in C that embeds a JVM: a class's `main` runs on the program's first thread. Arguments:
 * libjvm.so, the folder of the class, its name, options of the JVM. The class Outward has its
 * native functions here. */
#include "guest.h"
#include <dlfcn.h>
#include <jni.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static JavaVM *vm;
static jclass outward;
static jmethodID called;

struct call {
    int depth, result;
};

/* In a callback. A thread of C is attached by its first call; after that this only finds out the
 * thread's environment. */
static void call_java(void *arg) {
    struct call *call = arg;
    JNIEnv *env;
    if ((*vm)->AttachCurrentThread(vm, (void **)&env, NULL)) return;
    jint result = (*env)->CallStaticIntMethod(env, outward, called, call->depth);
    if (!(*env)->ExceptionCheck(env)) call->result = result;
}

/* Outward.called in a callback, on the thread's own stack: 0 if all is well. */
static jint JNICALL call_out(JNIEnv *env, jclass class, jint depth) {
    (void)env, (void)class;
    struct call call = {depth, 10};
    int result = guest_call_out(call_java, &call, 0);
    return result ? result : call.result;
}

/* The same on the callback's stack: whether Java has begun. */
static jint JNICALL call_on_g(JNIEnv *env, jclass class) {
    (void)env, (void)class;
    struct call call = {0, 10};
    int result = guest_call_out(call_java, &call, 1);
    return result ? result : call.result != 10;
}

static void *thread_of_c(void *rounds) {
    intptr_t result = 0;
    for (int round = 0; !result && round < *(jint *)rounds; round++) {
        result = call_out(NULL, NULL, round % 4);
        if (!result) result = guest_mix(round);
    }
    (*vm)->DetachCurrentThread(vm);
    return (void *)result;
}

/* The same on threads that Java does not know. */
static jint JNICALL call_out_of_c(JNIEnv *env, jclass class, jint rounds) {
    (void)env, (void)class;
    enum { THREADS = 2 };
    pthread_t threads[THREADS];
    int result = 0;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_of_c, &rounds)) return 11;
    for (int i = 0; i < THREADS; i++) {
        void *returned = NULL;
        pthread_join(threads[i], &returned);
        if (returned) result = (int)(intptr_t)returned;
    }
    return result;
}

static int add_natives(JNIEnv *env, jclass class) {
    JNINativeMethod methods[] = {{"callOut", "(I)I", (void *)call_out},
                                 {"callOnG", "()I", (void *)call_on_g},
                                 {"callOutOfC", "(I)I", (void *)call_out_of_c}};
    outward = (*env)->NewGlobalRef(env, class);
    called = (*env)->GetStaticMethodID(env, class, "called", "(I)I");
    return !called || (*env)->RegisterNatives(env, class, methods, sizeof methods / sizeof *methods);
}

int main(int argc, char **argv) {
    enum { OPTIONS = 4, MOST = 8 };
    int count = argc - OPTIONS;
    if (count < 0 || count > MOST) return 2;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL);
    jint (*create)(JavaVM **, void **, void *) = NULL;
    if (library) *(void **)&create = dlsym(library, "JNI_CreateJavaVM");
    if (!create) {
        fprintf(stderr, "%s\n", dlerror());
        return 3;
    }
    char path[4096];
    snprintf(path, sizeof path, "-Djava.class.path=%s", argv[2]);
    JavaVMOption options[2 + MOST] = {{.optionString = path}, {.optionString = "-Xint"}};
    for (int i = 0; i < count; i++) options[2 + i].optionString = argv[OPTIONS + i];
    JavaVMInitArgs arguments = {.version = JNI_VERSION_1_8, .nOptions = 2 + count, .options = options};
    JNIEnv *env;
    if (create(&vm, (void **)&env, &arguments)) return 4;
    jclass class = (*env)->FindClass(env, argv[3]);
    if (!class || (strcmp(argv[3], "Outward") == 0 && add_natives(env, class))) return 6;
    jmethodID method = (*env)->GetStaticMethodID(env, class, "main", "([Ljava/lang/String;)V");
    jobjectArray none = (*env)->NewObjectArray(env, 0, (*env)->FindClass(env, "java/lang/String"), NULL);
    (*env)->CallStaticVoidMethod(env, class, method, none); /* ends the process */
    return 5;
}
