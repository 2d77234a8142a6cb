/* The parent of a container that nobody waits for: a program without libc that keeps what must outlive everybody else.
 *
 *   argv: "minirun-keeper", pid, exit_fd, stdin_fd, owner_fd, wake, lock, supervisor, its argument …
 *
 *   container (pid) ──ends──▶ exit_fd   its wait status and the time: 24 bytes, allocated before, so that no full disk
 *                                       loses them
 *   stdin_fd                            the writing end of its standard input, the master of its terminal, or -1;
 *                                       SIGUSR1: close it
 *   owner_fd                            or -1; while somebody has the other end of this pipe, he takes the output
 *   wake                                FIFO of the supervisor: a byte says "look again"; without a reader there is no
 *                                       supervisor, and whoever gets the flock of *lock* starts one
 *   everything else that is open        stays open: FIFOs with what nobody has read yet
 *
 * It stays until whoever has taken the last output and the exit status kills it, or has removed the file of exit_fd.
 *
 * See wait(2), signalfd(2), fifo(7), flock(2); container/kept.py, which starts it, and container/supervisor.py.
 */
#include "bare.h"

enum { SIGUSR1_ = 10, SIGCHLD_ = 17, WNOHANG_ = 1, WALL_ = 0x40000000, SIG_SETMASK_ = 2, O_WRONLY_ = 1, O_RDWR_ = 2,
       O_CREAT_ = 0100, O_NONBLOCK_ = 04000, O_CLOEXEC_ = 02000000, LOCK_EX_ = 2, LOCK_NB_ = 4, POLLIN_ = 1,
       POLLERR_ = 8, POLLHUP_ = 16, F_SETFD_ = 2, CLOCK_REALTIME_ = 0, RETRY_MS = 100, PATIENCE_MS = 1000,
       STAT_LINKS = 2 /* the place of st_nlink in struct stat, in longs */ };

struct poll { int fd; short events, revents; };
struct time { long seconds, nanoseconds; };

static int number(const char *text)
{
    int value = 0;
    if (*text == '-')
        return -1;
    for (; *text; text++)
        value = value * 10 + (*text - '0');
    return value;
}

/* Start a supervisor if nobody is one; returns how long to wait before looking again. */
static int revive(const char *lock, char **supervisor, char **env)
{
    unsigned long none = 0;
    long held = kernel(__NR_open, (long)lock, O_RDWR_ | O_CREAT_ | O_CLOEXEC_, 0600, 0);
    if (held < 0)
        return PATIENCE_MS;
    if (kernel(__NR_flock, held, LOCK_EX_ | LOCK_NB_, 0, 0) < 0) {
        kernel(__NR_close, held, 0, 0, 0);
        return RETRY_MS; /* somebody is just becoming the supervisor, or just ending */
    }
    if (kernel(__NR_fork, 0, 0, 0, 0) == 0) {
        /* the lock is at 3 from now on, held by this very open file; nothing else of ours goes along */
        kernel(__NR_fcntl, held, F_SETFD_, 0, 0);
        kernel(__NR_dup2, held, 3, 0, 0);
        kernel(__NR_close_range, 4, ~0U, 0, 0);
        kernel(__NR_setsid, 0, 0, 0, 0);
        kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&none, 0, 8);
        kernel(__NR_execve, (long)supervisor[0], (long)supervisor, (long)env, 0);
        leave(127);
    }
    kernel(__NR_close, held, 0, 0, 0);
    return PATIENCE_MS;
}

/* Tell the supervisor to look again; the descriptor that tells of its end, or -1 where there is none. */
static int wake_up(const char *wake)
{
    int fd = kernel(__NR_open, (long)wake, O_WRONLY_ | O_NONBLOCK_ | O_CLOEXEC_, 0, 0);
    if (fd >= 0)
        kernel(__NR_write, fd, (long)"k", 1, 0);
    return fd;
}

/* Whether the file that takes the exit status was removed: nobody will ask for it any more. */
static int forgotten(int exit_fd)
{
    long stat[18];
    return kernel(__NR_fstat, exit_fd, (long)stat, 0, 0) == 0 && stat[STAT_LINKS] == 0;
}

static void begin(long *stack)
{
    char **argv = (char **)(stack + 1), **env = argv + *stack + 1;
    if (*stack < 8)
        leave(125);
    int child = number(argv[1]), exit_fd = number(argv[2]), input = number(argv[3]), owner = number(argv[4]);
    const char *wake = argv[5], *lock = argv[6];
    unsigned long all = ~0UL, taken = 1UL << (SIGCHLD_ - 1) | 1UL << (SIGUSR1_ - 1);
    int supervisor = -1, timeout = -1, ended = 0;

    kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&all, 0, 8);
    int signals = kernel(__NR_signalfd4, -1, (long)&taken, 8, O_CLOEXEC_ | O_NONBLOCK_);
    for (;;) {
        int status;
        long pid;
        /* reaped at the start of each round: it may have ended before there was a signalfd */
        while ((pid = kernel(__NR_wait4, -1, (long)&status, WNOHANG_ | WALL_, 0)) > 0)
            if (pid == child) {
                struct time now;
                kernel(__NR_clock_gettime, CLOCK_REALTIME_, (long)&now, 0, 0);
                long record[3] = {status, now.seconds, now.nanoseconds};
                if (kernel(__NR_pwrite64, exit_fd, (long)record, sizeof record, 0) != sizeof record)
                    leave(1); /* EIO: nobody shall wait for it, for the kernel tells whoever finds no keeper */
                ended = 1;
                if (supervisor >= 0)
                    kernel(__NR_write, supervisor, (long)"k", 1, 0);
            }
        if (owner < 0 && supervisor < 0) {
            supervisor = wake_up(wake);
            timeout = supervisor < 0 ? revive(lock, argv + 7, env) : -1;
        }
        /* not before somebody else is there: whoever was just forgetting it may have been killed half-way */
        if (ended && forgotten(exit_fd) && timeout != RETRY_MS)
            leave(0);
        struct poll fds[3] = {{signals, POLLIN_, 0}, {owner, 0, 0}, {supervisor, 0, 0}};
        kernel(__NR_poll, (long)fds, 3, ended && timeout < 0 ? PATIENCE_MS : timeout, 0);
        if (fds[0].revents) {
            char info[128];
            while (kernel(__NR_read, signals, (long)info, sizeof info, 0) > 0)
                if (*(unsigned *)info == SIGUSR1_ && input >= 0) {
                    kernel(__NR_close, input, 0, 0, 0);
                    input = -1;
                }
        }
        if (fds[1].revents & (POLLHUP_ | POLLERR_)) { /* whoever took the output is gone */
            kernel(__NR_close, owner, 0, 0, 0);
            owner = -1;
        }
        if (fds[2].revents & POLLERR_) { /* the supervisor is gone */
            kernel(__NR_close, supervisor, 0, 0, 0);
            supervisor = -1;
        }
    }
}
