/* The plain entries of a tar, each in one call: its header read, its file made, or its file read and its header written.
 *
 *   plain   [x header, times] header  ─▶ where it ends, name, kind, mode, uid, gid, size, mtime_ns, link
 *   make    data in memory         ─▶ openat ─ write ─ fchown ─ fchmod ─ utimensat ─ close
 *   read    openat ─ flistxattr ─ pread ─ close ─▶ [x header, its record] header, data, padding
 *
 * What is not plain (long names, base-256, xattrs, holes, a name that is taken, whatever fails before there is a file) is
 * answered by None or False, and then tar.py, extraction.py or archive.py does all of it, with the same outcome: see
 * entries.py. No policy is here: the directory is a descriptor to which Python found the way, the name has no slash.
 *
 * The interpreter's lock is let go once a call and not once a system call, so that decompression and hashing in other
 * threads go on beside it. Nothing is kept between calls.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { BLOCK = 512, NAME = 100, PREFIX = 155, RECORD_MAX = 64, SMALL_BYTES = 64 << 10 };
enum { ID_MAX = 07777777, LENGTH_DIGITS = 7 /* of a record, as pax.py has it */ };
static const int64_t SECOND_NS = 1000000000, SECONDS_MAX = 077777777777;
static const int64_t TIME_MAX = INT64_MAX / 1000000000 - 1; /* seconds that 64 bits hold as nanoseconds */

struct header {
    char name[NAME], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], kind, link[NAME], magic[6], version[2],
        owner[32], group[32], major[8], minor[8], prefix[PREFIX], unused[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "ustar");

static unsigned sum_of(const struct header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    unsigned sum = 8 * ' '; /* its own field counts as blanks */
    for (size_t i = 0; i < BLOCK; i++)
        sum += bytes[i];
    for (size_t i = 0; i < sizeof header->checksum; i++)
        sum -= (unsigned char)header->checksum[i];
    return sum;
}

/* Octal digits, after blanks and before blanks or NULs alone; -1: anything else. A field has room for 36 bits. */
static int64_t octal(const char *field, size_t length)
{
    size_t i = 0, first;
    int64_t value = 0;
    while (i < length && field[i] == ' ')
        i++;
    for (first = i; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        value = value * 8 + (field[i] - '0');
    if (i == first)
        return -1;
    for (; i < length; i++)
        if (field[i] != ' ' && field[i] != '\0')
            return -1;
    return value;
}

/* The number that decimal digits at *at are, at most ten of them; -1: there is none, or more. Goes on behind it. */
static int64_t decimal(const char **at, const char *end)
{
    const char *first = *at;
    int64_t value = 0;
    for (; *at < end && **at >= '0' && **at <= '9' && *at - first < 11; ++*at)
        value = value * 10 + (**at - '0');
    return *at == first || *at - first > 10 ? -1 : value;
}

/* Read the records of a pax header that says nothing but times; of them mtime counts, and is set if it is there. */
static int read_times(const char *at, size_t length, int64_t *mtime_ns)
{
    const char *end = at + length;
    while (at < end) {
        const char *record = at;
        int64_t own = decimal(&at, end), seconds, scale = SECOND_NS;
        if (own < 0 || at - record > LENGTH_DIGITS || own > end - record || end - at < 7 || *at++ != ' ')
            return 0;
        const char *key = at, *last = record + own - 1;
        if (memcmp(key, "mtime=", 6) && memcmp(key, "atime=", 6) && memcmp(key, "ctime=", 6))
            return 0;
        at += 6;
        if (at >= last || *last != '\n')
            return 0;
        if (*key != 'm') { /* Python does not look at their values either */
            at = last + 1;
            continue;
        }
        seconds = decimal(&at, last);
        if (seconds < 0 || seconds > TIME_MAX)
            return 0;
        *mtime_ns = seconds * SECOND_NS;
        if (at < last && *at == '.')
            for (at++; at < last && *at >= '0' && *at <= '9'; at++)
                *mtime_ns += (scale /= 10) * (*at - '0');
        if (at++ != last)
            return 0;
    }
    return 1;
}

/* Whether a header's checksum is right. Some old writers added signed characters: that is for Python to see. */
static int is_sound(const struct header *header)
{
    return octal(header->checksum, sizeof header->checksum) == sum_of(header);
}

static PyObject *read_plain(const char *data, size_t length, size_t position)
{
    const struct header *h = (const struct header *)(data + position);
    char name[PREFIX + 1 + NAME];
    size_t used = 0, own;
    int64_t mtime_ns = -1;
    if (h->kind == 'x') {
        int64_t size = octal(h->size, sizeof h->size);
        if (length - position < 3 * BLOCK || size < 0 || size > BLOCK || !is_sound(h) ||
            !read_times(data + position + BLOCK, size, &mtime_ns))
            Py_RETURN_NONE;
        position += size ? 2 * BLOCK : BLOCK;
        h = (const struct header *)(data + position);
    }
    int64_t mode = octal(h->mode, sizeof h->mode), uid = octal(h->uid, sizeof h->uid), gid = octal(h->gid, sizeof h->gid),
            size = octal(h->size, sizeof h->size), seconds = octal(h->mtime, sizeof h->mtime);
    char kind = h->kind == '\0' ? '0' : h->kind;
    if (mode < 0 || uid < 0 || gid < 0 || size < 0 || seconds < 0 || seconds > TIME_MAX || !is_sound(h) ||
        (kind != '0' && kind != '1' && kind != '2' && kind != '5'))
        Py_RETURN_NONE;
    if (memcmp(h->magic, "ustar", sizeof h->magic) == 0 && h->prefix[0]) {
        if (memcmp(h->unused + sizeof h->unused - 4, "tar", 4) == 0)
            Py_RETURN_NONE; /* star: times stand behind the prefix */
        used = strnlen(h->prefix, PREFIX);
        memcpy(name, h->prefix, used);
        name[used++] = '/';
    }
    own = strnlen(h->name, NAME);
    memcpy(name + used, h->name, own);
    used += own;
    if (kind == '0' && used && name[used - 1] == '/')
        kind = '5';
    return Py_BuildValue("ny#y#iLLLLy#", (Py_ssize_t)(position + BLOCK), name, (Py_ssize_t)used, &kind, (Py_ssize_t)1,
                         (int)(mode & 07777), (long long)uid, (long long)gid, kind == '0' ? (long long)size : 0LL,
                         (long long)(mtime_ns < 0 ? seconds * SECOND_NS : mtime_ns), h->link,
                         (Py_ssize_t)strnlen(h->link, NAME));
}

static PyObject *plain(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Py_buffer buffer;
    PyObject *answer;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "plain(buffer, position)");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if ((position == -1 && PyErr_Occurred()) || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE))
        return NULL;
    if (position >= 0 && buffer.len >= BLOCK && position <= buffer.len - BLOCK)
        answer = read_plain(buffer.buf, buffer.len, position);
    else
        answer = Py_NewRef(Py_None);
    PyBuffer_Release(&buffer);
    return answer;
}

/* Whether a call that a signal interrupted is to be made again; if not, there is an exception. With the lock let go. */
static int again(PyThreadState **state)
{
    if (errno != EINTR)
        return 0;
    PyEval_RestoreThread(*state);
    int raised = PyErr_CheckSignals();
    *state = PyEval_SaveThread();
    errno = EINTR;
    return raised == 0;
}

/* Time in nanoseconds as seconds, rounded down, and the rest; 64 bits are not enough for every time that a tar can have. */
static int split(PyObject *ns, struct timespec *time)
{
    PyObject *billion = PyLong_FromLongLong(SECOND_NS), *both = billion ? PyNumber_Divmod(ns, billion) : NULL;
    Py_XDECREF(billion);
    if (!both)
        return -1;
    time->tv_sec = PyLong_AsLongLong(PyTuple_GET_ITEM(both, 0));
    time->tv_nsec = PyLong_AsLong(PyTuple_GET_ITEM(both, 1));
    Py_DECREF(both);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *make(PyObject *self, PyObject *arguments)
{
    int directory, error = 0, file;
    const char *name;
    Py_buffer buffer;
    Py_ssize_t position, size;
    long long uid, gid;
    unsigned mode;
    PyObject *mtime_ns;
    struct timespec times[2];
    if (!PyArg_ParseTuple(arguments, "iyy*nnLLIO", &directory, &name, &buffer, &position, &size, &uid, &gid, &mode,
                          &mtime_ns))
        return NULL;
    if (position < 0 || size < 0 || position > buffer.len || size > buffer.len - position || strchr(name, '/') ||
        split(mtime_ns, times)) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "the name is a path, or the data lie outside the buffer");
        PyBuffer_Release(&buffer);
        return NULL;
    }
    times[1] = times[0];
    PyThreadState *state = PyEval_SaveThread();
    file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file >= 0) {
        const char *data = (const char *)buffer.buf + position;
        while (size && !error) {
            ssize_t written = write(file, data, size);
            if (written >= 0) {
                data += written;
                size -= written;
            } else if (!again(&state))
                error = errno;
        }
        /* data, owner, mode, time: write(2) and chown(2) take setuid away */
        if (!error && ((uid >= 0 && fchown(file, uid, gid)) || fchmod(file, mode) || futimens(file, times)))
            error = errno;
        if (close(file) && !error)
            error = errno;
    }
    PyEval_RestoreThread(state);
    PyBuffer_Release(&buffer);
    if (PyErr_Occurred())
        return NULL;
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyBool_FromLong(file >= 0);
}

/* snprintf(3) takes most of the time that a header takes. */
static void put_octal(char *field, size_t digits, uint64_t value)
{
    field[digits] = '\0';
    while (digits--) {
        field[digits] = '0' + (value & 7);
        value >>= 3;
    }
}

static void put_header(struct header *h, unsigned mode, unsigned uid, unsigned gid, uint64_t size, uint64_t mtime,
                       char kind)
{
    put_octal(h->mode, 7, mode);
    put_octal(h->uid, 7, uid);
    put_octal(h->gid, 7, gid);
    put_octal(h->size, 11, size);
    put_octal(h->mtime, 11, mtime);
    h->kind = kind;
    memcpy(h->magic, "ustar", 6);
    memcpy(h->version, "00", 2);
    put_octal(h->major, 7, 0);
    put_octal(h->minor, 7, 0);
    put_octal(h->checksum, 6, sum_of(h));
    h->checksum[7] = ' ';
}

/* The pax record of a time that is no whole second; returns its length. */
static int put_record(char *record, int64_t seconds, long nanoseconds)
{
    char time[RECORD_MAX - 16];
    int length = snprintf(time, sizeof time, "mtime=%lld.%09ld", (long long)seconds, nanoseconds);
    while (time[length - 1] == '0')
        time[--length] = '\0';
    return snprintf(record, RECORD_MAX, "%d %s\n", length + 4, time); /* two digits, a blank, a newline */
}

/* Read the whole of a file that has *size* bytes and no xattrs; 0 if it is not so, or not to be read. */
static int read_file(int directory, const char *name, char *data, size_t size)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int file = openat(directory, name, flags | O_NOATIME);
    if (file < 0 && errno == EPERM)
        file = openat(directory, name, flags); /* O_NOATIME is for owners */
    if (file < 0)
        return 0;
    ssize_t listed = flistxattr(file, NULL, 0);
    int good = listed == 0 || (listed < 0 && errno == EOPNOTSUPP);
    good = good && (size == 0 || pread(file, data, size, 0) == (ssize_t)size);
    close(file);
    return good;
}

static PyObject *read_entry(PyObject *self, PyObject *arguments)
{
    int directory, good;
    const char *name, *path;
    Py_ssize_t path_length;
    unsigned mode, uid, gid;
    long long size, mtime_ns;
    if (!PyArg_ParseTuple(arguments, "iyy#IIILL", &directory, &name, &path, &path_length, &mode, &uid, &gid, &size,
                          &mtime_ns))
        return NULL;
    if (path_length > NAME || uid > ID_MAX || gid > ID_MAX || size < 0 || size > SMALL_BYTES || mtime_ns < 0 ||
        mtime_ns / SECOND_NS > SECONDS_MAX)
        Py_RETURN_NONE;
    int64_t seconds = mtime_ns / SECOND_NS, nanoseconds = mtime_ns % SECOND_NS;
    size_t extension = nanoseconds ? 2 * BLOCK : 0, padding = -(size_t)size & (BLOCK - 1);
    PyObject *entry = PyBytes_FromStringAndSize(NULL, extension + BLOCK + size + padding);
    if (!entry)
        return NULL;
    char *start = PyBytes_AS_STRING(entry), *data = start + extension + BLOCK;
    memset(start, 0, extension + BLOCK);
    if (nanoseconds) {
        struct header *x = (struct header *)start;
        const char *slash = memrchr(path, '/', path_length), *own = slash ? slash + 1 : path;
        size_t length = path + path_length - own;
        memcpy(x->name, "PaxHeaders/", 11);
        memcpy(x->name + 11, own, length < 80 ? length : 80);
        put_header(x, 0644, 0, 0, put_record(start + BLOCK, seconds, nanoseconds), 0, 'x');
    }
    struct header *h = (struct header *)(start + extension);
    memcpy(h->name, path, path_length);
    put_header(h, mode, uid, gid, size, seconds, '0');
    memset(data + size, 0, padding);
    Py_BEGIN_ALLOW_THREADS;
    good = read_file(directory, name, data, size);
    Py_END_ALLOW_THREADS;
    if (good)
        return entry;
    Py_DECREF(entry);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"plain", (PyCFunction)(void (*)(void))plain, METH_FASTCALL,
     "plain(buffer, position) -> (end, name, kind, mode, uid, gid, size, mtime_ns, link) | None"},
    {"make", make, METH_VARARGS,
     "make(directory, name, buffer, position, size, uid, gid, mode, mtime_ns) -> bool; a uid of -1 leaves the owner"},
    {"read", read_entry, METH_VARARGS, "read(directory, name, path, mode, uid, gid, size, mtime_ns) -> bytes | None"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT, .m_name = "_entries",
                                    .m_doc = "The plain entries of a tar.", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__entries(void)
{
    return PyModule_Create(&module);
}
