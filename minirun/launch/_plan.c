/* Runs a plan: an encoded list of system calls, here or in a new process that never touches the interpreter.
 *
 *   spawn: clone3(CLONE_VM | CLONE_VFORK | ...)
 *     parent  ── suspended by the kernel ──────────────────────────┬─ reads which call failed, and its errno
 *     child   ── own stack, same memory: call 0, call 1, … ── exec or exit
 *
 * All policy is in the plan (see encode in machine.py for its form). The child is not a fork: it runs on a stack of its
 * own inside the parent's memory, so it may call nothing but the kernel: no malloc, no errno, no libc.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#ifndef __x86_64__
#error "plans are encoded for x86_64 only"
#endif

enum { SLOTS = 240, STACK_BYTES = 65536, IMMEDIATE = 0, ADDRESS = 1, SLOT = 2 };

struct call {
    uint16_t number;
    uint8_t save; /* slot + 1 that takes the result; 0: nobody wants it */
    uint8_t skip; /* how many calls to leave out after a tolerated error */
    uint16_t tolerate[2];
    uint8_t kind[6], spare[2];
    int64_t args[6];
};

struct plan {
    const struct call *calls;
    int count;
    char *data; /* strings and structures; ADDRESS arguments count from here */
    int64_t slots[SLOTS];
    int64_t last; /* result of the last call that saved one */
    int failed;   /* index of the call that failed, or -1 */
    int error;
    int64_t *times; /* count + 1 readings of the clock, or NULL */
};

static inline long kernel(long n, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static inline int64_t now_ns(void)
{
    struct timespec t;
    kernel(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&t, 0, 0, 0, 0);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

__attribute__((noinline)) static void run(struct plan *plan)
{
    int skip = 0;
    if (plan->times)
        plan->times[0] = now_ns();
    for (int i = 0; i < plan->count; i++) {
        const struct call *call = &plan->calls[i];
        long args[6], result = 0;
        if (skip == 0) {
            for (int k = 0; k < 6; k++)
                args[k] = call->kind[k] == ADDRESS ? (long)(plan->data + call->args[k])
                          : call->kind[k] == SLOT  ? plan->slots[call->args[k]]
                                                   : call->args[k];
            result = kernel(call->number, args[0], args[1], args[2], args[3], args[4], args[5]);
            if (result < 0 && result > -4096) {
                if (-result != call->tolerate[0] && -result != call->tolerate[1]) {
                    plan->failed = i;
                    plan->error = -result;
                    return;
                }
                skip = call->skip;
            } else if (call->save)
                plan->last = plan->slots[call->save - 1] = result;
        } else
            skip--;
        if (plan->times)
            plan->times[i + 1] = now_ns();
    }
}

__attribute__((noreturn)) static void child(struct plan *plan)
{
    run(plan);
    for (;;)
        kernel(SYS_exit_group, 127, 0, 0, 0, 0, 0);
}

/* clone3 with a stack has to return into `child` without using the parent's frame: nothing of C is between. */
static long clone3_into_child(struct clone_args *args, struct plan *plan)
{
    long result;
    register long r12 __asm__("r12") = (long)plan;
    register long r13 __asm__("r13") = (long)child;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r12, %%rdi\n\t"
                     "call *%%r13\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(result)
                     : "a"((long)SYS_clone3), "D"(args), "S"(sizeof *args), "r"(r12), "r"(r13)
                     : "rcx", "r11", "memory", "rdx", "r8", "r9", "r10");
    return result;
}

struct buffers {
    Py_buffer calls, data, relocations, times;
};

/* Take the arguments that spawn and run share; the addresses inside *data* are made absolute in place. */
static int open_plan(struct plan *plan, struct buffers *b, PyObject *times)
{
    *plan = (struct plan){.calls = b->calls.buf, .count = b->calls.len / sizeof(struct call), .data = b->data.buf,
                          .failed = -1};
    if (times != Py_None) {
        if (PyObject_GetBuffer(times, &b->times, PyBUF_WRITABLE))
            return -1;
        if (b->times.len < (Py_ssize_t)((plan->count + 1) * sizeof *plan->times)) {
            PyErr_SetString(PyExc_ValueError, "times must hold one 8-byte reading more than there are calls");
            return -1;
        }
        plan->times = b->times.buf;
    }
    const uint32_t *at = b->relocations.buf;
    for (Py_ssize_t i = 0; i < b->relocations.len / 4; i++) {
        if (at[i] + 8 > b->data.len) {
            PyErr_SetString(PyExc_ValueError, "a relocation lies outside the data");
            return -1;
        }
        *(uint64_t *)(plan->data + at[i]) += (uint64_t)plan->data;
    }
    return 0;
}

static void release(struct buffers *b)
{
    PyBuffer_Release(&b->calls);
    PyBuffer_Release(&b->data);
    PyBuffer_Release(&b->relocations);
    if (b->times.obj)
        PyBuffer_Release(&b->times);
}

static PyObject *spawn(PyObject *self, PyObject *arguments)
{
    struct buffers b = {0};
    struct plan plan;
    PyObject *times, *answer = NULL;
    unsigned long long flags;
    int cgroup;
    if (!PyArg_ParseTuple(arguments, "y*w*y*KiO", &b.calls, &b.data, &b.relocations, &flags, &cgroup, &times))
        return NULL;
    if (open_plan(&plan, &b, times) == 0) {
        char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (stack == MAP_FAILED) {
            PyErr_SetFromErrno(PyExc_OSError);
        } else {
            int pidfd = -1;
            struct clone_args args = {.flags = flags | CLONE_VM | CLONE_VFORK | CLONE_PIDFD,
                                      .pidfd = (uint64_t)&pidfd,
                                      .exit_signal = SIGCHLD,
                                      .stack = (uint64_t)stack,
                                      .stack_size = STACK_BYTES};
            if (cgroup >= 0) {
                args.flags |= CLONE_INTO_CGROUP;
                args.cgroup = cgroup;
            }
            sigset_t all, before;
            long pid;
            sigfillset(&all);
            /* Python's handlers write into memory that the child shares; the plan sets the child's mask itself. */
            pthread_sigmask(SIG_BLOCK, &all, &before);
            pid = clone3_into_child(&args, &plan);
            pthread_sigmask(SIG_SETMASK, &before, NULL);
            munmap(stack, STACK_BYTES);
            if (pid < 0) {
                errno = -pid;
                PyErr_SetFromErrno(PyExc_OSError);
            } else
                answer = Py_BuildValue("liii", pid, pidfd, plan.failed, plan.error);
        }
    }
    release(&b);
    return answer;
}

static PyObject *run_here(PyObject *self, PyObject *arguments)
{
    struct buffers b = {0};
    struct plan plan;
    PyObject *times, *answer = NULL;
    if (!PyArg_ParseTuple(arguments, "y*w*y*O", &b.calls, &b.data, &b.relocations, &times))
        return NULL;
    if (open_plan(&plan, &b, times) == 0) {
        run(&plan);
        answer = Py_BuildValue("iiL", plan.failed, plan.error, (long long)plan.last);
    }
    release(&b);
    return answer;
}

/* os.fork(), with the child in another cgroup from its birth. The C library is not told: whoever calls has one thread,
 * so none of its locks is held, and the child goes on as after a fork in all that it does by the interpreter. */
static PyObject *fork_into(PyObject *self, PyObject *arguments)
{
    int cgroup;
    if (!PyArg_ParseTuple(arguments, "i", &cgroup))
        return NULL;
    struct clone_args args = {.flags = CLONE_INTO_CGROUP, .exit_signal = SIGCHLD, .cgroup = cgroup};
    PyOS_BeforeFork();
    long pid = kernel(SYS_clone3, (long)&args, sizeof args, 0, 0, 0, 0);
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    if (pid < 0) {
        errno = -pid;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyLong_FromLong(pid);
}

static PyMethodDef methods[] = {
    {"spawn", spawn, METH_VARARGS,
     "spawn(calls, data, relocations, clone_flags, cgroup, times) -> (pid, pidfd, failed, errno)"},
    {"run", run_here, METH_VARARGS, "run(calls, data, relocations, times) -> (failed, errno, last_saved)"},
    {"fork", fork_into, METH_VARARGS, "fork(cgroup) -> pid"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT, .m_name = "_plan", .m_doc = "Runs plans of system calls.", .m_size = -1,
                                    .m_methods = methods};

PyMODINIT_FUNC PyInit__plan(void)
{
    return PyModule_Create(&module);
}
