"""SRV discovery: who is there and on which port, from one name. Needs dnspython.

python services.py _PORT._PROTOCOL.SERVICE
"""

import sys

import dns.resolver


def main(name: str) -> None:
    for record in sorted(dns.resolver.resolve(name, "SRV", search=True), key=lambda one: one.target):
        addresses = [str(one) for one in dns.resolver.resolve(record.target, "A")]
        print(record.target, record.port, *addresses)


if __name__ == "__main__":
    main(*sys.argv[1:])
