// An echo server with a thread for each connection: echo LISTENER CONNECTIONS [spin]
//
// LISTENER is the number of a descriptor that listens. Each connection's bytes are sent back until the client has sent
// all; then the server sends how many there were, and closes. With `spin` the listener and the connections are set not
// to block, and are polled.

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int polled;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

// Waits until a call would not block.
static void wait_for(int fd, short events) {
    struct pollfd poll_fd = {.fd = fd, .events = events};
    if (poll(&poll_fd, 1, -1) != 1)
        fail("poll");
}

static ssize_t receive(int fd, char *buffer, size_t size) {
    for (;;) {
        ssize_t n = recv(fd, buffer, size, 0);
        if (n >= 0 || errno != EAGAIN || !polled)
            return n;
        wait_for(fd, POLLIN);
    }
}

static void send_all(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, bytes, size, 0);
        if (n < 0 && errno == EAGAIN && polled) {
            wait_for(fd, POLLOUT);
            continue;
        }
        if (n < 0)
            fail("send");
        bytes += n;
        size -= n;
    }
}

static void *serve(void *argument) {
    int fd = (int)(size_t)argument;
    char buffer[3000];
    long long total = 0;
    ssize_t n;
    while ((n = receive(fd, buffer, sizeof buffer)) > 0) {
        send_all(fd, buffer, n);
        total += n;
    }
    if (n < 0)
        fail("recv");
    int length = snprintf(buffer, sizeof buffer, "%lld bytes\n", total);
    send_all(fd, buffer, length);
    if (shutdown(fd, SHUT_WR) != 0)
        fail("shutdown");
    close(fd);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: echo LISTENER CONNECTIONS [spin]\n");
        return 2;
    }
    int listener = atoi(argv[1]), connections = atoi(argv[2]);
    polled = argc > 3;
    if (polled && fcntl(listener, F_SETFL, O_NONBLOCK) != 0)
        fail("fcntl");
    pthread_t *threads = calloc(connections, sizeof *threads);
    for (int i = 0; i < connections; i++) {
        int fd;
        while ((fd = accept4(listener, NULL, NULL, polled ? SOCK_NONBLOCK : 0)) < 0) {
            if (errno != EAGAIN || !polled)
                fail("accept");
            wait_for(listener, POLLIN);
        }
        if (pthread_create(&threads[i], NULL, serve, (void *)(size_t)fd) != 0)
            fail("pthread_create");
    }
    for (int i = 0; i < connections; i++)
        pthread_join(threads[i], NULL);
    printf("served %d connections\n", connections);
    return 0;
}
