/* A host program's threads: an ek_parallel_for on pthreads, started for each call. */
#ifndef HOST_H
#define HOST_H

#include <pthread.h>

typedef struct {
    void (*task)(void *arg, size_t index);
    void *arg;
    size_t tasks, next;
    pthread_mutex_t lock;
} host_call;

static void *host_thread(void *data)
{
    host_call *const call = data;
    for (;;) {
        size_t index;
        pthread_mutex_lock(&call->lock);
        index = call->next++;
        pthread_mutex_unlock(&call->lock);
        if (index >= call->tasks) return NULL;
        call->task(call->arg, index);
    }
}

/* user_data counts the calls. */
static void host_parallel_for(void *user_data, size_t tasks, void (*task)(void *arg, size_t index), void *arg)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    host_call call;
    int i, started = 0;
    ++*(size_t *)user_data;
    call.task = task;
    call.arg = arg;
    call.tasks = tasks;
    call.next = 0;
    pthread_mutex_init(&call.lock, NULL);
    for (i = 0; i < THREADS; i++)
        if (pthread_create(&threads[started], NULL, host_thread, &call) == 0) started++;
    host_thread(&call);
    for (i = 0; i < started; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&call.lock);
}

#endif
