/*
 * Gets hold of files of the host by what processes show of themselves in /proc, and has them be writable: a line for each way
 * that works.
 *
 *   argv: DEVICE:INODE …   the files; until /tmp/enough is there
 *
 *   held KIND       it was opened for reading: as exe, fd, map_files, cwd or root of a process
 *   way WAY KIND    it could be written, or a mount of it be changed, by that way
 *
 * It opens, and never writes, and sets what is so already: where a defence fails, the host stays whole. But to open a program for
 * writing keeps everybody from executing it, so it belongs in a pid namespace of its own.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static char **files;
static int count;

static int wanted(int descriptor)
{
    struct stat status;
    char text[64];
    if (fstat(descriptor, &status) < 0)
        return 0;
    snprintf(text, sizeof text, "%lu:%lu", (unsigned long)status.st_dev, (unsigned long)status.st_ino);
    for (int i = 0; i < count; i++)
        if (!strcmp(files[i], text))
            return 1;
    return 0;
}

static void way(const char *name, const char *kind, long result)
{
    if (result >= 0)
        printf("way %s %s\n", name, kind);
}

static int writable(int descriptor)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int opened = open(path, O_WRONLY | O_APPEND);
    if (opened >= 0)
        close(opened);
    return opened;
}

/* Every way to write to what is held, to what describes it, or to have a mount of it that can be written to. */
static void turn(int descriptor, const char *kind)
{
    char path[64];
    struct { struct file_handle head; char room[128]; } handle = {.head = {.handle_bytes = 128}};
    struct mount_attr change = {.attr_clr = MOUNT_ATTR_RDONLY};
    struct stat status;
    int flags = 0, mount_id, clone;

    printf("held %s\n", kind);
    snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    way("open", kind, writable(descriptor));
    if (fstat(descriptor, &status) == 0) {
        way("chmod", kind, fchmod(descriptor, status.st_mode & 07777));
        way("chown", kind, fchown(descriptor, status.st_uid, status.st_gid));
        way("truncate", kind, truncate(path, status.st_size));
    }
    way("xattr", kind, fremovexattr(descriptor, "trusted.minirun-none") < 0 && errno != ENODATA ? -1 : 0);
    way("flags", kind, ioctl(descriptor, FS_IOC_GETFLAGS, &flags) < 0 ? -1 : ioctl(descriptor, FS_IOC_SETFLAGS, &flags));
    way("link", kind, linkat(AT_FDCWD, path, AT_FDCWD, "/tmp/linked", AT_SYMLINK_FOLLOW));
    way("remount", kind, mount("none", path, 0, MS_REMOUNT | MS_BIND, 0));
    way("setattr", kind, syscall(SYS_mount_setattr, descriptor, "", AT_EMPTY_PATH, &change, sizeof change));
    way("bind", kind, mount(path, "/tmp/bound", 0, MS_BIND, 0));
    clone = syscall(SYS_open_tree, descriptor, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
    way("clone", kind, clone);
    if (clone >= 0) {
        syscall(SYS_mount_setattr, clone, "", AT_EMPTY_PATH, &change, sizeof change);
        way("open-clone", kind, writable(clone));
        close(clone);
    }
    if (name_to_handle_at(descriptor, "", &handle.head, &mount_id, AT_EMPTY_PATH) == 0) {
        int again = open_by_handle_at(descriptor, &handle.head, O_WRONLY | O_APPEND);
        way("handle", kind, again);
        if (again >= 0)
            close(again);
    }
    way("open-after", kind, writable(descriptor));
    fflush(stdout);
}

static void try(const char *path, const char *kind)
{
    static int held;
    int descriptor = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (descriptor >= 0) {
        if (wanted(descriptor))
            way("at-once", kind, 0);
        close(descriptor);
    }
    if (held == 40)
        return;
    descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    if (wanted(descriptor)) {
        held++;
        turn(descriptor, kind); /* and held on to, as if for when nobody executes it any more */
    } else
        close(descriptor);
}

static void all(int pid, const char *kind)
{
    char folder[64], path[400];
    struct dirent *entry;
    snprintf(folder, sizeof folder, "/proc/%d/%s", pid, kind);
    DIR *directory = opendir(folder);
    while (directory && (entry = readdir(directory))) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.')
            try(path, kind);
    }
    if (directory)
        closedir(directory);
}

int main(int argument_count, char **arguments)
{
    char path[64];
    int last = getpid();
    files = arguments + 1;
    count = argument_count - 1;
    mkdir("/tmp/bound", 0700);
    setvbuf(stdout, 0, _IOLBF, 0);
    printf("begun\n");
    while (access("/tmp/enough", F_OK) != 0) {
        for (int pid = 1; pid <= last + 2; pid++) {
            snprintf(path, sizeof path, "/proc/%d", pid);
            if (pid == getpid() || access(path, F_OK) != 0)
                continue;
            if (pid > last)
                last = pid;
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            try(path, "exe");
            all(pid, "fd");
            all(pid, "map_files");
            if (pid > 1 && last - pid > 3) /* of those that come in, the newest count */
                pid = last - 3;
        }
    }
    return 0;
}
