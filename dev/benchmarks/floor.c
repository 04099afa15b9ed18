/* The floor: posts the same request over N connections as fast as they are answered; floor.py does the same in Python.
 * floor PORT CONNECTIONS REQUESTS <REQUEST prints the requests per second, and the CPU of one in microseconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double used(void) {
    struct rusage now;
    getrusage(RUSAGE_SELF, &now);
    return now.ru_utime.tv_sec + now.ru_stime.tv_sec + (now.ru_utime.tv_usec + now.ru_stime.tv_usec) / 1e6;
}

static double at(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    char request[65536], answer[65536];
    size_t size = fread(request, 1, sizeof request, stdin);
    int connections = atoi(words[2]), poll = epoll_create1(0);
    long sent = 0, done = 0, requests = atol(words[3]), first = requests / 10;
    double began = 0, before = 0;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < connections && sent < requests; i++, sent++) {
        int one = 1, line = socket(AF_INET, SOCK_STREAM, 0);
        struct epoll_event wanted = {.events = EPOLLIN, .data.fd = line};
        setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(line, (struct sockaddr *)&to, sizeof to)) return 1;
        epoll_ctl(poll, EPOLL_CTL_ADD, line, &wanted);
        if (send(line, request, size, 0) != (ssize_t)size) return 1;
    }
    while (done < requests) {
        struct epoll_event ready[64];
        int found = epoll_wait(poll, ready, 64, -1);
        for (int i = 0; i < found; i++) {
            ssize_t got = recv(ready[i].data.fd, answer, sizeof answer, 0);
            if (got < 12 || answer[9] != '2') return 1;
            if (++done == first) began = at(), before = used();
            if (sent++ < requests && send(ready[i].data.fd, request, size, 0) != (ssize_t)size) return 1;
        }
    }
    printf("%.1f %.3f\n", (done - first) / (at() - began), (used() - before) / (done - first) * 1e6);
    return 0;
}
