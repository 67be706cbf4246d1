/* Stalls inside unmodified programs (curl, psql, nginx, HAProxy, GnuTLS's tools, PostgreSQL, Exim, Squid), loaded with LD_PRELOAD.
 *
 * The program itself sleeps inside the library call named by the stage, and writes what it did to ZOO_LOG.
 *   ZOO_STALL="connection:stage:milliseconds,..."   a server's in the order of accept, a client's counted from ZOO_FIRST (default 0)
 *   hello   before the first call of the handshake        (a client's ClientHello)
 *   read    the first call that finds bytes to read       (a client: the server's flight; a server: the ClientHello)
 *   second  a later call that finds new bytes to read     (a server: the client's flight)
 *   verify  while the peer's certificate is verified      (X509_verify_cert, gnutls_certificate_verify_peers*)
 * Before TLS, when a server is about to say
 *   greeting   SMTP's first 220
 *   challenge  a proxy's 407
 *   goahead    SMTP's second 220, a proxy's 200, PostgreSQL's S
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 256
static struct { void *session; int number, reads, begun, fd; } known[MOST];
static int count, current = -1, connected = -1;

/* Accepted connections by descriptor: a server that forks for each hands its child the number that the parent gave. */
#define FDS 4096
static struct { int number, greeted; } taken[FDS]; /* numbers from 1 */
static int accepted;
static int number_of(int fd) { return fd >= 0 && fd < FDS ? taken[fd].number : 0; }

/* Read at once: nginx empties its environment. */
static const char *plan, *path;
static int first;
static char *copy(const char *name) { const char *v = getenv(name); return v ? strdup(v) : NULL; }
__attribute__((constructor)) static void begin(void) {
    plan = copy("ZOO_STALL"), path = copy("ZOO_LOG");
    first = getenv("ZOO_FIRST") ? atoi(getenv("ZOO_FIRST")) : 0;
}

static double now(void) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); return t.tv_sec + t.tv_nsec / 1e9; }

static int port(int fd, int peer) {
    struct sockaddr_in6 a; socklen_t n = sizeof a; memset(&a, 0, sizeof a);
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&a, &n)) return 0;
    return ntohs(a.sin6_port); /* at the same place in both families */
}

static void stall_at(int connection, int fd, const char *stage) {
    if (!plan || !path) return;
    for (const char *p = plan; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        int number; char at[16]; double ms;
        if (sscanf(p, "%d:%15[a-z]:%lf", &number, at, &ms) != 3 || number != connection || strcmp(at, stage)) continue;
        struct timespec span = { (time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000L };
        double begun = now();
        while (nanosleep(&span, &span));
        double ended = now();
        char line[512];
        int n = snprintf(line, sizeof line,
            "{\"ev\":\"stall\",\"stage\":\"%s\",\"ms\":%.1f,\"t\":%.6f,\"t_end\":%.6f,\"number\":%d,\"port\":%d,\"peer\":%d}\n",
            stage, ms, begun, ended, connection, port(fd, 0), port(fd, 1));
        int out = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (out >= 0) { if (write(out, line, n) < 0) {} close(out); }
    }
}

static void stall(int slot, const char *stage) {
    if (slot >= 0) stall_at(known[slot].number, known[slot].fd, stage);
}

/* A server is about to say something in the clear. */
static void says(int fd, const char *bytes, size_t size) {
    int number = number_of(fd) - 1;
    if (number < 0 || !plan) return;
    if (size >= 4 && !memcmp(bytes, "220 ", 4)) stall_at(number, fd, taken[fd].greeted++ ? "goahead" : "greeting");
    if (size >= 12 && !memcmp(bytes, "HTTP/1.1 407", 12)) stall_at(number, fd, "challenge");
    if (size >= 12 && !memcmp(bytes, "HTTP/1.1 200", 12)) stall_at(number, fd, "goahead");
    if (size == 1 && *bytes == 'S') stall_at(number, fd, "goahead");
}

static int find(void *session, int fd) {
    for (int i = 0; i < count && i < MOST; i++) if (known[i].session == session && known[i].fd == fd) return i;
    if (count >= MOST || fd < 0 || !port(fd, 1)) return -1;
    known[count].session = session, known[count].fd = fd;
    known[count].number = number_of(fd) ? number_of(fd) - 1 : count + first;
    return count++;
}

static void before(void *session, int fd) {
    if (fd < 0) { /* curl and HAProxy do not tell OpenSSL which socket they use */
        fd = connected;
        for (int i = 0; i < count; i++) if (known[i].session == session) fd = known[i].fd;
    }
    int slot = current = find(session, fd);
    if (slot < 0) return;
    if (!known[slot].begun++) stall(slot, "hello");
    char byte;
    if (number_of(fd) && !(fcntl(fd, F_GETFL) & O_NONBLOCK)) recv(fd, &byte, 1, MSG_PEEK); /* one call reads it all (Exim): it would wait here */
    if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1) stall(slot, known[slot].reads++ ? "second" : "read");
}

/* A session that ends: the next one may lie at the same address. */
static void forget(void *session) {
    for (int i = 0; i < count; i++) if (known[i].session == session) known[i].session = NULL;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
extern int SSL_get_fd(const void *) __attribute__((weak));
extern int SSL_get_ex_data_X509_STORE_CTX_idx(void) __attribute__((weak));
extern void *X509_STORE_CTX_get_ex_data(const void *, int) __attribute__((weak));
extern int gnutls_transport_get_int(void *) __attribute__((weak));
int SSL_do_handshake(void *s);
int SSL_connect(void *s);
int SSL_accept(void *s);
void SSL_free(void *s);
int X509_verify_cert(void *c);
int gnutls_handshake(void *s);
void gnutls_deinit(void *s);
int gnutls_certificate_verify_peers2(void *s, unsigned *status);
int gnutls_certificate_verify_peers3(void *s, const char *name, unsigned *status);
int gnutls_certificate_verify_peers(void *s, void *data, unsigned n, unsigned *status);

/* The newest TCP connection of a client. */
int connect(int fd, const struct sockaddr *to, socklen_t size) {
    REAL(connect);
    int kind = 0; socklen_t n = sizeof kind;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &n);
    if (to && (to->sa_family == AF_INET || to->sa_family == AF_INET6) && kind == SOCK_STREAM) connected = fd;
    if (number_of(fd)) taken[fd].number = 0;
    return real(fd, to, size);
}

/* The newest one of a server. */
static int take(int made) {
    if (made < 0) return made;
    connected = made;
    accepted++;
    if (made < FDS) taken[made].number = accepted, taken[made].greeted = 0;
    return made;
}
int accept(int fd, struct sockaddr *from, socklen_t *size) { REAL(accept); return take(real(fd, from, size)); }
int accept4(int fd, struct sockaddr *from, socklen_t *size, int flags) { REAL(accept4); return take(real(fd, from, size, flags)); }

/* Exim reads from a copy. */
int dup(int fd) {
    REAL(dup);
    int made = real(fd);
    if (made >= 0 && made < FDS && number_of(fd)) taken[made] = taken[fd];
    return made;
}

/* PostgreSQL, Squid, Exim. */
ssize_t send(int fd, const void *bytes, size_t size, int flags) { REAL(send); says(fd, bytes, size); return real(fd, bytes, size, flags); }
ssize_t write(int fd, const void *bytes, size_t size) { REAL(write); says(fd, bytes, size); return real(fd, bytes, size); }
size_t fwrite(const void *bytes, size_t size, size_t many, FILE *file) {
    REAL(fwrite);
    if (plan) says(fileno(file), bytes, size * many);
    return real(bytes, size, many, file);
}

/* OpenSSL's calls call each other: the outermost counts. */
static __thread int depth;
#define HANDSHAKE(name) int name(void *s) { \
    REAL(name); \
    if (!depth && SSL_get_fd) before(s, SSL_get_fd(s)); \
    depth++; \
    int done = real(s); \
    depth--; \
    return done; \
}
HANDSHAKE(SSL_do_handshake)
HANDSHAKE(SSL_connect)
HANDSHAKE(SSL_accept)
void SSL_free(void *s) { REAL(SSL_free); forget(s); real(s); }
/* Not where OpenSSL completes its own chain. */
int X509_verify_cert(void *c) {
    REAL(X509_verify_cert);
    if (X509_STORE_CTX_get_ex_data && X509_STORE_CTX_get_ex_data(c, SSL_get_ex_data_X509_STORE_CTX_idx())) stall(current, "verify");
    return real(c);
}
int gnutls_handshake(void *s) { REAL(gnutls_handshake); if (gnutls_transport_get_int) before(s, gnutls_transport_get_int(s)); return real(s); }
void gnutls_deinit(void *s) { REAL(gnutls_deinit); forget(s); real(s); }
int gnutls_certificate_verify_peers2(void *s, unsigned *st) { REAL(gnutls_certificate_verify_peers2); stall(current, "verify"); return real(s, st); }
int gnutls_certificate_verify_peers3(void *s, const char *n, unsigned *st) { REAL(gnutls_certificate_verify_peers3); stall(current, "verify"); return real(s, n, st); }
int gnutls_certificate_verify_peers(void *s, void *d, unsigned n, unsigned *st) { REAL(gnutls_certificate_verify_peers); stall(current, "verify"); return real(s, d, n, st); }
