/* The limit for a DNS server of one thread: receive, set two flags and a count, append a fixed A record, send. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const unsigned char RECORD[16] = {0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 244, 1, 10};

int main(void) {
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, peer;
    socklen_t size = sizeof self;
    unsigned char message[4096];
    int sock = socket(AF_INET, SOCK_DGRAM, 0), buffer = 4 << 20;
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(sock, (struct sockaddr *)&self, size) || getsockname(sock, (struct sockaddr *)&self, &size)) return 1;
    printf("%d\n", ntohs(self.sin_port));
    fflush(stdout);
    for (;;) {
        socklen_t from = sizeof peer;
        ssize_t length = recvfrom(sock, message, 512, 0, (struct sockaddr *)&peer, &from);
        if (length < 12) continue;
        message[2] |= 0x84;
        message[7] = 1;
        memcpy(message + length, RECORD, sizeof RECORD);
        sendto(sock, message, (size_t)length + sizeof RECORD, 0, (struct sockaddr *)&peer, from);
    }
}
