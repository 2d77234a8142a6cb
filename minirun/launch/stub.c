/* The last step of a plan: a program without libc that becomes the container's command, and reaps for it.
 *
 *   argv: ["exec" | "init", status_fd, command, argument …], ["join", status_fd, born_fd, command, argument …]
 *         or ["drain" | "restore", descriptor]
 *
 *   exec   execve(command)
 *   init   fork ─┬─ child: execve(command)
 *                └─ stays as PID 1: forwards signals to the child, reaps orphans, ends as the child ended
 *   join   fork ─┬─ child, of our parent, in the pid namespace that is set for children: execve(command)
 *                └─ says its pid on born_fd, and ends; the errno of the fork as exit status, if there is none
 *   drain  on the host: holds the master of a terminal that nobody looks at, and reads it until nobody has it open
 *   restore  on the host: gives the terminal at 0 the settings that came through the pipe, when nobody writes to that
 *
 * It is executed through a read-only clone mount, so that `#!/proc/self/exe` in an image finds this file, where nothing
 * can be written, and not the interpreter of the host (CVE-2019-5736). If the command cannot be executed, the errno goes
 * to status_fd as four bytes, and the exit status is Docker's 127 (not there) or 126 (not executable).
 */
#include "bare.h"

enum { SIGCHLD_ = 17, CLONE_PARENT_ = 0x8000, TIOCSCTTY_ = 0x540e, WNOHANG_ = 1, F_SETFD_ = 2, FD_CLOEXEC_ = 1,
       SIG_BLOCK_ = 0, SIG_SETMASK_ = 2, TIOCSPGRP_ = 0x5410, TCSETSW_ = 0x5403, TERMIOS_BYTES = 36, PATH_BYTES = 4096 };

/* The value of PATH in *env*, or Docker's default. */
static const char *search_path(char **env)
{
    for (; *env; env++) {
        const char *e = *env;
        if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
            return e + 5;
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* Become the command, searched like execvp(3); returns only the errno of the failure. */
static int become(char **argv, char **env)
{
    static char file[PATH_BYTES];
    const char *name = argv[0], *dir;
    int denied = 0;
    for (const char *c = name; *c; c++)
        if (*c == '/')
            return -kernel(__NR_execve, (long)name, (long)argv, (long)env, 0);
    if (!*name)
        return ENOENT;
    for (dir = search_path(env);; dir++) {
        int n = 0;
        for (; *dir && *dir != ':'; dir++)
            if (n < PATH_BYTES)
                file[n++] = *dir;
        if (n > 0) { /* an empty entry would be the working directory: Docker does not search it, nor do we */
            if (n < PATH_BYTES)
                file[n++] = '/';
            for (const char *c = name; *c; c++)
                if (n < PATH_BYTES)
                    file[n++] = *c;
            if (n < PATH_BYTES) {
                file[n] = 0;
                int error = -kernel(__NR_execve, (long)file, (long)argv, (long)env, 0);
                if (error == EACCES)
                    denied = 1;
                else if (error != ENOENT && error != ENOTDIR)
                    return error;
            }
        }
        if (!*dir)
            return denied ? EACCES : ENOENT;
    }
}

__attribute__((noreturn)) static void execute(int status_fd, char **argv, char **env)
{
    int error = become(argv, env);
    kernel(__NR_write, status_fd, (long)&error, sizeof error, 0);
    leave(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/* PID 1 for a command that was not written to be one; see pid_namespaces(7). */
__attribute__((noreturn)) static void init(int status_fd, char **argv, char **env)
{
    unsigned long all = ~0UL, none = 0;
    kernel(__NR_rt_sigprocmask, SIG_BLOCK_, (long)&all, 0, 8);
    long child = kernel(__NR_fork, 0, 0, 0, 0);
    if (child < 0)
        leave(126);
    if (child == 0) {
        /* a process group of its own, in the foreground where there is a terminal, so that Ctrl-C reaches it once */
        int self = kernel(__NR_getpid, 0, 0, 0, 0);
        kernel(__NR_setpgid, 0, 0, 0, 0);
        kernel(__NR_ioctl, 0, TIOCSPGRP_, (long)&self, 0);
        kernel(__NR_rt_sigprocmask, SIG_SETMASK_, (long)&none, 0, 8);
        execute(status_fd, argv, env);
    }
    kernel(__NR_close, status_fd, 0, 0, 0);
    for (;;) {
        long got = kernel(__NR_rt_sigtimedwait, (long)&all, 0, 0, 8);
        if (got == SIGCHLD_) {
            int status;
            long pid;
            while ((pid = kernel(__NR_wait4, -1, (long)&status, WNOHANG_, 0)) > 0)
                if (pid == child)
                    leave(status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff);
        } else if (got > 0)
            kernel(__NR_kill, child, got, 0, 0);
    }
}

/* Have the command be born in a container that runs: before, its processes saw neither this one nor whose it was, and
 * what they see now has its root, its rights and its filter, and this file's memory. */
__attribute__((noreturn)) static void join(int status_fd, int born_fd, char **argv, char **env)
{
    long child = kernel(__NR_clone, CLONE_PARENT_ | SIGCHLD_, 0, 0, 0);
    int pid = child;
    if (child < 0)
        leave(-child);
    if (child > 0) {
        kernel(__NR_write, born_fd, (long)&pid, sizeof pid, 0);
        leave(0);
    }
    kernel(__NR_close, born_fd, 0, 0, 0);
    kernel(__NR_setsid, 0, 0, 0, 0);
    kernel(__NR_ioctl, 0, TIOCSCTTY_, 0, 0); /* what is no terminal refuses it */
    execute(status_fd, argv, env);
}

__attribute__((noreturn)) static void drain(int master)
{
    static char nowhere[PATH_BYTES];
    while (kernel(__NR_read, master, (long)nowhere, sizeof nowhere, 0) > 0)
        ;
    leave(0);
}

__attribute__((noreturn)) static void restore(int pipe)
{
    static char settings[TERMIOS_BYTES], more;
    if (kernel(__NR_read, pipe, (long)settings, TERMIOS_BYTES, 0) != TERMIOS_BYTES)
        leave(125);
    while (kernel(__NR_read, pipe, (long)&more, 1, 0) > 0)
        ;
    leave(kernel(__NR_ioctl, 0, TCSETSW_, (long)settings, 0) ? 1 : 0);
}

static int number(const char *text)
{
    int value = 0;
    for (; *text; text++)
        value = value * 10 + (*text - '0');
    return value;
}

static void begin(long *stack)
{
    char **argv = (char **)(stack + 1), **env = argv + *stack + 1;
    if (*stack < 2)
        leave(125);
    int status_fd = number(argv[1]);
    if (argv[0][0] == 'd')
        drain(status_fd);
    if (argv[0][0] == 'r')
        restore(status_fd);
    if (*stack < 3)
        leave(125);
    kernel(__NR_fcntl, status_fd, F_SETFD_, FD_CLOEXEC_, 0);
    if (argv[0][0] == 'i')
        init(status_fd, argv + 2, env);
    if (argv[0][0] == 'j' && *stack > 3)
        join(status_fd, number(argv[2]), argv + 3, env);
    execute(status_fd, argv + 2, env);
}
