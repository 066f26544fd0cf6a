/* Questions at a steady rate, or as many as are answered, and how long each answer took: until the kernel had it, which
 * this program's own delays do not lengthen. One thread that never sleeps, so that the server has the other core.
 *
 *     asker PORT QUESTIONS SECONDS RATE      QUESTIONS: messages, each behind its length in two octets
 *                                            RATE: a second; 0: always so many under way as WINDOW says
 * prints {"sent", "answered", "seconds", "p50_us", "p99_us", "worst_us"}; seconds: from the first to the last answer */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SOCKETS = 4, WINDOW = 200, MOST = 1 << 17, LONGEST = 512, BUCKETS = 1 << 20 };

static unsigned char text[1 << 24], *message[MOST];
static size_t size[MOST], count;
static uint64_t asked[SOCKETS][1 << 16];
static uint32_t took[BUCKETS];

static uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

static void load(const char *path) {
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, text, sizeof text);
    for (ssize_t at = 0; at + 2 <= length && count < MOST; at += 2 + (ssize_t)size[count++]) {
        size[count] = (size_t)text[at] << 8 | text[at + 1];
        message[count] = text + at + 2;
    }
}

static int opened(uint16_t port) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int sock = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), yes = 1, buffer = 4 << 20;
    setsockopt(sock, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (connect(sock, (struct sockaddr *)&server, sizeof server)) exit(1);
    return sock;
}

/* Take one answer from a socket and note how long it took: 1, or 0 when there is none. */
static int taken(int number, int sock, uint64_t *when) {
    unsigned char answer[4096], control[64];
    struct iovec into = {answer, sizeof answer};
    struct msghdr head = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct timespec at;
    if (recvmsg(sock, &head, 0) < 12) return 0;
    memcpy(&at, CMSG_DATA(CMSG_FIRSTHDR(&head)), sizeof at);
    *when = (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
    uint64_t *start = &asked[number][answer[0] << 8 | answer[1]], us = *start ? (*when - *start) / 1000 : 0;
    if (!*start) return 0;
    *start = 0;
    took[us < BUCKETS ? us : BUCKETS - 1]++;
    return 1;
}

static unsigned within(uint64_t answered, double share) {
    uint64_t seen = 0;
    for (unsigned us = 0; us < BUCKETS; us++)
        if ((seen += took[us]) && (double)seen >= (double)answered * share) return us;
    return 0;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int sockets[SOCKETS];
    uint64_t sent = 0, answered = 0, last = 0, rate = strtoull(argv[4], NULL, 10);
    uint16_t next[SOCKETS] = {0};
    load(argv[2]);
    if (!count) return 2;
    for (int n = 0; n < SOCKETS; n++) sockets[n] = opened((uint16_t)atoi(argv[1]));
    uint64_t began = now(), ends = began + (uint64_t)(atof(argv[3]) * 1e9), heard = began;
    for (uint64_t at = began; at < ends || (sent > answered && at < ends + 200000000u); at = now()) {
        uint64_t due = at >= ends ? sent : rate ? (uint64_t)((double)(at - began) * 1e-9 * (double)rate) : sent + 8;
        if (!rate && at < ends && at - heard > 200000000u) answered = sent; /* all of the window was lost */
        for (int burst = 0; sent < due && burst < 8 && (rate || sent - answered < WINDOW); burst++) {
            int n = (int)(sent % SOCKETS);
            unsigned char query[LONGEST];
            size_t which = sent % count;
            memcpy(query, message[which], size[which]);
            query[0] = (unsigned char)(next[n] >> 8), query[1] = (unsigned char)next[n];
            asked[n][next[n]++] = now();
            send(sockets[n], query, size[which], 0);
            sent++;
        }
        for (int n = 0; n < SOCKETS; n++)
            for (int burst = 0; burst < 8 && taken(n, sockets[n], &last); burst++) answered++, heard = at;
    }
    printf("{\"sent\": %llu, \"answered\": %llu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, \"worst_us\": %u}\n",
           (unsigned long long)sent, (unsigned long long)answered, (double)(last - began) * 1e-9, within(answered, .5),
           within(answered, .99), within(answered, 1));
}
