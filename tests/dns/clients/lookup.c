/* Prints what this C library's getaddrinfo says of each name: one line of IPv4 addresses, sorted by nobody. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char **names) {
    for (int at = 1; at < count; at++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_family = AF_INET;
        hints.ai_socktype = SOCK_STREAM;
        int code = getaddrinfo(names[at], NULL, &hints, &found);
        printf("%s", names[at]);
        if (code != 0) printf(" error %d", code);
        for (struct addrinfo *one = found; one != NULL; one = one->ai_next) {
            char text[INET_ADDRSTRLEN];
            struct sockaddr_in *address = (struct sockaddr_in *)one->ai_addr;
            printf(" %s", inet_ntop(AF_INET, &address->sin_addr, text, sizeof text));
        }
        printf("\n");
        if (found != NULL) freeaddrinfo(found);
    }
    return 0;
}
