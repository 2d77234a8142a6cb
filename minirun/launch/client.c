/* `minirun`, where something resident can start containers: a program without libc that asks it, and else is the launcher.
 *   .venv/bin/minirun-warm ── socket ──▶ minirun/warm.py, which has the protocol
 *                          └─ execve ──▶ .venv/bin/minirun, the launcher beside it: whenever anything is not as it is to be
 *
 * It gives away descriptors 0, 1, 2 and the working directory, its arguments and its environment, which lie side by side on
 * the stack. It stays for what is the caller's alone: in his session and process group it gets the signals of his terminal.
 * See unix(7), cmsg(3), signalfd(2), pidfd_send_signal(2). */
#include "bare.h"

enum { AF_UNIX_ = 1, SOCK_SEQPACKET_ = 5, SOCK_CLOEXEC_ = 02000000, SOCK_NONBLOCK_ = 04000, SOL_SOCKET_ = 1, SCM_RIGHTS_ = 1,
       MSG_NOSIGNAL_ = 0x4000, MSG_DONTWAIT_ = 0x40, MSG_CMSG_CLOEXEC_ = 0x40000000, SHUT_RD_ = 0, O_PATH_ = 010000000,
       O_CLOEXEC_ = 02000000, AT_FDCWD_ = -100, SIG_SETMASK_ = 2, SIGKILL_ = 9, POLLIN_ = 1, TIOCGPGRP_ = 0x540F,
       PATH_BYTES = 108, ANSWER_MS = 2000 };

/* what container/wait.py passes on: HUP INT QUIT, USR1 USR2 ALRM TERM, CONT TSTP, WINCH IO PWR, and those of real time */
static const unsigned long FORWARDED = 7UL | 0x6a00 | 0xa0000 | 0x38000000 | ~0x1ffffffffUL;

struct vector { const void *base; unsigned long size; };
struct message { void *name; unsigned name_size; struct vector *parts; unsigned long count; void *control;
                 unsigned long control_size; int flags; };
struct control { unsigned long size; int level, type, descriptors[4]; };
struct poll { int fd; short events, revents; }; struct address { unsigned short family; char path[PATH_BYTES]; };

static unsigned long length(const char *text)
{
    const char *end = text;
    while (*end)
        end++;
    return end - text;
}

static int equal(const char *a, const char *b)
{
    for (; *a && *a == *b; a++)
        b++;
    return *a == *b;
}

/* Append to a path of PATH_BYTES; 0 where that is too long. */
static int append(char *path, const char *more)
{
    unsigned long at = length(path), size = length(more) + 1;
    if (at + size > PATH_BYTES)
        return 0;
    for (unsigned long i = 0; i < size; i++)
        path[at + i] = more[i];
    return 1;
}

/* The value of a variable whose name ends with "="; 0 where it is not set. */
static const char *variable(char **env, const char *name)
{
    for (unsigned long i; *env; env++)
        for (i = 0; !name[i] || (*env)[i] == name[i]; i++)
            if (!name[i])
                return *env + i;
    return 0;
}

/* Where the socket is: in the runtime directory, or MINIRUN_WARM has its path; 0: nowhere, as with MINIRUN_WARM=0. */
static int find(char **env, char *path)
{
    const char *own = variable(env, "MINIRUN_WARM="), *runtime = variable(env, "MINIRUN_RUNTIME=");
    if (own && *own == '/')
        return append(path, own);
    return !(own && equal(own, "0")) && append(path, runtime && *runtime ? runtime : "/run/minirun") && append(path, "/warm");
}

/* Ask for argv to be run; returns the connection, or -1. */
static int ask(const char *launcher, long count, char **argv, char **env)
{
    struct address to = {AF_UNIX_, ""};
    int group, here;
    if (count < 2 || !(equal(argv[1], "run") || equal(argv[1], "exec")) || kernel(__NR_geteuid, 0, 0, 0, 0) || !find(env, to.path))
        return -1;
    /* in the background: it is to be stopped when it reads, or sets the terminal, which nobody else can be for it */
    if (kernel(__NR_ioctl, 0, TIOCGPGRP_, (long)&group, 0) == 0 && group != kernel(__NR_getpgrp, 0, 0, 0, 0))
        return -1;
    int fd = kernel(__NR_socket, AF_UNIX_, SOCK_SEQPACKET_ | SOCK_CLOEXEC_ | SOCK_NONBLOCK_, 0, 0);
    if (fd < 3 || kernel(__NR_connect, fd, (long)&to, sizeof to.family + length(to.path) + 1, 0) < 0
        || (here = kernel(__NR_openat, AT_FDCWD_, (long)".", O_PATH_ | O_CLOEXEC_, 0)) < 0)
        return -1;
    char digits[24], *number = digits + sizeof digits - 1, **last = argv + count - 1;
    *number = 0;
    for (long n = count; n; n /= 10)
        *--number = '0' + n % 10;
    for (char **each = env; *each; each++)
        last = each;
    struct vector parts[] = {{launcher, length(launcher) + 1}, {number, digits + sizeof digits - number},
                             {argv[0], *last + length(*last) + 1 - argv[0]}};
    struct control given = {sizeof given, SOL_SOCKET_, SCM_RIGHTS_, {0, 1, 2, here}};
    struct message request = {0, 0, parts, 3, &given, sizeof given, 0};
    return kernel(__NR_sendmsg, fd, (long)&request, MSG_NOSIGNAL_, 0) < 0 ? -1 : fd;
}

/* The next answer: its first letter, with what comes with it in *more; 0 where there is none. */
static int answer(int fd, int *more)
{
    unsigned char text[2] = {0, 0};
    struct vector part = {text, sizeof text};
    struct control given = {0, 0, 0, {-1, -1, -1, -1}};
    struct message message = {0, 0, &part, 1, &given, sizeof given, 0};
    if (kernel(__NR_recvmsg, fd, (long)&message, MSG_CMSG_CLOEXEC_ | MSG_DONTWAIT_, 0) <= 0)
        return 0;
    *more = text[0] == 't' ? given.descriptors[0] : text[1];
    return text[0];
}

static void begin(long *stack)
{
    long count = *stack;
    char **argv = (char **)(stack + 1), **env = argv + count + 1;
    char launcher[4096];
    unsigned long before, held, passed = FORWARDED;
    int process, code = 125, last = SIGKILL_;
    long size = kernel(__NR_readlink, (long)"/proc/self/exe", (long)launcher, sizeof launcher - 1, 0);
    launcher[size < 0 ? 0 : size] = 0;
    if (size < 5 || !equal(launcher + size - 5, "-warm"))
        leave(125); /* it is to be reached by a link, not copied: the launcher is beside it, without "-warm" */
    launcher[size - 5] = 0;
    kernel(__NR_rt_sigprocmask, SIG_SETMASK_, 0, (long)&before, 8);
    int fd = ask(launcher, count, argv, env);
    if (fd >= 0) {
        held = before | FORWARDED;
        kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&held, 0, 8);
        struct poll fds[2] = {{fd, POLLIN_, 0}, {-1, POLLIN_, 0}};
        if (kernel(__NR_poll, (long)fds, 1, ANSWER_MS, 0) == 0)
            kernel(__NR_shutdown, fd, SHUT_RD_, 0, 0); /* who has not answered by now cannot begin any more */
        if (answer(fd, &process) == 't') {
            fds[1].fd = kernel(__NR_signalfd4, -1, (long)&passed, 8, SOCK_CLOEXEC_ | SOCK_NONBLOCK_);
            for (;;) {
                kernel(__NR_poll, (long)fds, 2, -1, 0);
                unsigned info[32];
                while (fds[1].revents && kernel(__NR_read, fds[1].fd, (long)info, sizeof info, 0) > 0)
                    kernel(__NR_pidfd_send_signal, process, last = info[0], 0, 0);
                if (fds[0].revents && answer(fd, &code) == 'e')
                    leave(code);
                if (fds[0].revents) { /* it was killed: as if we were, by the same signal where it was one of ours */
                    kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&before, 0, 8);
                    kernel(__NR_kill, kernel(__NR_getpid, 0, 0, 0, 0), last, 0, 0);
                    kernel(__NR_kill, kernel(__NR_getpid, 0, 0, 0, 0), SIGKILL_, 0, 0);
                }
            }
        }
        kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&before, 0, 8);
    }
    kernel(__NR_execve, (long)launcher, (long)argv, (long)env, 0);
    leave(127);
}
