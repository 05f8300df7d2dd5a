/* Measures C threads that call a static method of Java's by JNI. A thread is attached at its first
 * call and detached at its exit, as JNI's specification asks ("Detaching from the VM"). */
#include "../measure.h"
#include <jni.h>
#include <pthread.h>
#include <stdlib.h>

static JavaVM *vm;
static jclass peer;
static jmethodID method;
static pthread_key_t attached;
static __thread JNIEnv *own;

static void detach(void *env) {
    (void)env;
    (*vm)->DetachCurrentThread(vm);
}
static void call(void) {
    if (own == NULL) {
        if ((*vm)->AttachCurrentThreadAsDaemon(vm, (void **)&own, NULL) != JNI_OK) abort();
        pthread_setspecific(attached, own);
    }
    (*own)->CallStaticVoidMethod(own, peer, method);
}

JNIEXPORT void JNICALL Java_Peer_measureByJni(JNIEnv *env, jclass class) {
    (*env)->GetJavaVM(env, &vm);
    peer = (*env)->NewGlobalRef(env, class);
    method = (*env)->GetStaticMethodID(env, class, "call", "()V");
    pthread_key_create(&attached, detach);
    measure(call, NULL);
}
