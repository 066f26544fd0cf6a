"""The balancer in user space: sockets on virtual addresses instead of rules in the packet filter."""
