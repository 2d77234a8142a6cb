/*
 * What a container can do, as seen from inside: a line for each thing, `kind name answer`, the answer an errno's name or `ok`.
 *
 * Statically linked, it runs in any image, under any runtime. Calls are asked with arguments that do nothing where they
 * are allowed: an answer such as EFAULT or EINVAL says that the kernel looked at them, and so that nobody had refused.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(const char *kind, const char *name, long result)
{
    printf("%s %s %s\n", kind, name, result < 0 ? strerrorname_np(errno) : "ok");
}

#define CALL(name, ...) tell("syscall", #name, syscall(SYS_##name, __VA_ARGS__))

/* In a child: what it changes, where it is allowed, is the child's. */
#define CHILD(label, expression)                                                                                   \
    do {                                                                                                           \
        fflush(stdout);                                                                                            \
        pid_t child = fork();                                                                                      \
        if (!child) {                                                                                              \
            tell("syscall", label, (long)(expression));                                                            \
            fflush(stdout);                                                                                        \
            _exit(0);                                                                                              \
        }                                                                                                          \
        waitpid(child, 0, 0);                                                                                      \
    } while (0)

static void syscalls(void)
{
    char room[4096] = {0};
    struct timeval now;
    gettimeofday(&now, 0);

    CALL(acct, "/nonexistent");
    CALL(add_key, "user", "minirun-probe", "x", 1L, KEY_SPEC_PROCESS_KEYRING);
    CALL(bpf, -1, 0, 0);
    CALL(clone3, 0, 0);
    CALL(delete_module, "minirun_probe", 0);
    CALL(fanotify_init, 0, 0);
    CALL(finit_module, -1, "", 0);
    CALL(fsconfig, -1, 0, 0, 0, 0);
    CALL(fsmount, -1, 0, 0);
    CALL(fsopen, "nonexistent", 0);
    CALL(fspick, -1, "", 0);
    CALL(init_module, 0, 0L, "");
    CALL(io_uring_enter, -1, 0, 0, 0, 0, 0);
    CALL(io_uring_register, -1, 0, 0, 0);
    CALL(io_uring_setup, 0, 0);
    CALL(ioperm, 0L, 0L, 0);
    CHILD("iopl", syscall(SYS_iopl, 3));
    CALL(kcmp, getpid(), getpid(), 0, 0L, 0L);
    CALL(kexec_file_load, -1, -1, 0L, 0, 0L);
    CALL(kexec_load, 0L, 0L, 0, ~0L);
    CALL(keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 0);
    CALL(lookup_dcookie, 0L, room, sizeof room);
    CALL(mbind, 0, 0L, 0, 0, 0L, 0);
    CALL(mount, "none", "/nonexistent", "tmpfs", 0L, 0);
    CALL(mount_setattr, -1, "", 0, 0, 0L);
    CALL(move_mount, -1, "", -1, "", 0);
    CALL(move_pages, 0, 0L, 0, 0, 0, 0);
    CALL(name_to_handle_at, -1, "", 0, 0, 0);
    CALL(open_by_handle_at, -1, 0, 0);
    CALL(open_tree, -1, "", 1);
    CALL(perf_event_open, 0, 0, -1, -1, 0L);
    CHILD("personality", syscall(SYS_personality, 0x1000000L));
    CALL(pivot_root, "/nonexistent", "/nonexistent");
    CALL(process_vm_readv, getppid(), 0, 0L, 0, 0L, 0L);
    CHILD("ptrace", ptrace(PTRACE_TRACEME, 0, 0, 0));
    CALL(quotactl, 0x800007 << 8, "/nonexistent", 0, 0);
    CALL(reboot, 0, 0, 0, 0);
    CALL(request_key, "user", "minirun-probe-2", 0, 0);
    CALL(set_mempolicy, 0, 0, 0L);
    CALL(setdomainname, "x", ~0L);
    CALL(sethostname, "x", ~0L);
    CALL(setns, -1, 0);
    CALL(settimeofday, &now, 0);
    CALL(swapoff, "/nonexistent");
    CALL(swapon, "/nonexistent", 0);
    CALL(syslog, 3, room, sizeof room);
    CALL(sysfs, 3);
    CALL(umount2, "/nonexistent", 0);
    CHILD("unshare-mount", unshare(CLONE_NEWNS));
    CHILD("unshare-user", unshare(CLONE_NEWUSER));
    CALL(userfaultfd, 0);
    CHILD("chroot", chroot("/"));
}

static void sockets(void)
{
    static const struct { const char *name; int family, type, protocol; } every[] = {
        {"alg", AF_ALG, SOCK_SEQPACKET, 0}, {"bluetooth", AF_BLUETOOTH, SOCK_RAW, 0}, {"inet", AF_INET, SOCK_STREAM, 0},
        {"inet6", AF_INET6, SOCK_STREAM, 0}, {"netlink", AF_NETLINK, SOCK_RAW, 0}, {"packet", AF_PACKET, SOCK_RAW, 0},
        {"raw", AF_INET, SOCK_RAW, 1}, {"unix", AF_UNIX, SOCK_STREAM, 0}, {"vsock", AF_VSOCK, SOCK_STREAM, 0},
    };
    for (unsigned place = 0; place < sizeof every / sizeof *every; place++) {
        int descriptor = socket(every[place].family, every[place].type, every[place].protocol);
        tell("socket", every[place].name, descriptor);
        if (descriptor >= 0)
            close(descriptor);
    }
}

static void status(void)
{
    char line[4096], name[32], value[32];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%31[^:]: %31s", name, value) == 2
            && (!strncmp(name, "Cap", 3) || !strcmp(name, "NoNewPrivs") || !strcmp(name, "Seccomp")))
            printf("status %s %s\n", name, value);
    if (file)
        fclose(file);
}

static void opened(const char *kind, const char *path, int flags)
{
    int descriptor = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    tell(kind, path, descriptor);
    if (descriptor >= 0)
        close(descriptor);
}

/* Some of /proc can be opened and has nothing in it. */
static void read_from(const char *path)
{
    char byte;
    int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ssize_t got = descriptor < 0 ? -1 : read(descriptor, &byte, 1);
    if (got == 0)
        printf("read %s empty\n", path);
    else
        tell("read", path, got);
    if (descriptor >= 0)
        close(descriptor);
}

static void paths(void)
{
    static const char *const writable[] = {
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/kcore",
        "/proc/irq/default_smp_affinity", "/proc/fs/nfsd", "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/fs/cgroup/cgroup.procs", "/sys/power/state", "/proc/self/oom_score_adj", "/proc/1/mem", "/proc/1/exe", "/etc/hosts",
    };
    static const char *const readable[] = {
        "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list",
        "/proc/timer_stats", "/proc/kmsg", "/proc/kallsyms", "/proc/1/environ", "/dev/kmsg", "/dev/mem",
    };
    static const char *const hidden[] = {"/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};

    for (unsigned place = 0; place < sizeof writable / sizeof *writable; place++)
        opened("write", writable[place], O_WRONLY);
    for (unsigned place = 0; place < sizeof readable / sizeof *readable; place++)
        read_from(readable[place]);
    for (unsigned place = 0; place < sizeof hidden / sizeof *hidden; place++) {
        int count = 0;
        DIR *directory = opendir(hidden[place]);
        while (directory && readdir(directory))
            count++;
        printf("list %s %s\n", hidden[place], directory ? count > 2 ? "ok" : "empty" : strerrorname_np(errno));
        if (directory)
            closedir(directory);
    }
}

static void devices(void)
{
    static const struct { const char *name; int major, minor; mode_t type; } made[] = {
        {"kmsg", 1, 11, S_IFCHR}, {"mem", 1, 1, S_IFCHR}, {"fuse", 10, 229, S_IFCHR}, {"kvm", 10, 232, S_IFCHR},
        {"tun", 10, 200, S_IFCHR}, {"loop0", 7, 0, S_IFBLK}, {"disk", 254, 0, S_IFBLK}, {"null", 1, 3, S_IFCHR},
    };
    struct dirent *entry;
    char path[300];
    DIR *directory = opendir("/dev");
    while (directory && (entry = readdir(directory))) {
        struct stat status;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        if (lstat(path, &status) == 0 && (S_ISCHR(status.st_mode) || S_ISBLK(status.st_mode)))
            opened("device", path, O_RDONLY);
    }
    if (directory)
        closedir(directory);
    for (unsigned place = 0; place < sizeof made / sizeof *made; place++) {
        snprintf(path, sizeof path, "/dev/minirun-%s", made[place].name);
        int result = mknod(path, made[place].type | 0600, makedev(made[place].major, made[place].minor));
        tell("mknod", made[place].name, result);
        if (result == 0) {
            int descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
            tell("open-made", made[place].name, descriptor);
            if (descriptor >= 0)
                close(descriptor);
            unlink(path);
        }
    }
}

static void descriptors(void)
{
    char path[64], target[4096];
    for (int descriptor = 0; descriptor < 256; descriptor++) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0)
            continue;
        target[length] = 0;
        printf("descriptor %d %.*s\n", descriptor, (int)strcspn(target, ":["), target);
    }
}

static void namespaces(void)
{
    static const char *const every[] = {"cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"};
    char path[64], target[64];
    for (unsigned place = 0; place < sizeof every / sizeof *every; place++) {
        snprintf(path, sizeof path, "/proc/self/ns/%s", every[place]);
        ssize_t length = readlink(path, target, sizeof target - 1);
        printf("namespace %s %.*s\n", every[place], length < 0 ? 0 : (int)length, target);
    }
}

static void mounts(void)
{
    char line[8192], place[4096], options[256], kind[64];
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *rest = strstr(line, " - ");
        if (rest && sscanf(line, "%*s %*s %*s %*s %4095s %255s", place, options) == 2 && sscanf(rest, " - %63s", kind) == 1)
            printf("mount %s %s,%s%s\n", place, kind, options, strstr(line, " shared:") ? ",shared" : "");
    }
    if (file)
        fclose(file);
}

int main(int count, char **arguments)
{
    syscalls();
    sockets();
    if (count > 1 && !strcmp(arguments[1], "calls"))
        return 0; /* on a host: opening a device can do something, a watchdog for one */
    descriptors();
    status();
    namespaces();
    mounts();
    paths();
    devices();
    return 0;
}
