"""A neighbour that is another program: `talk OWN_ADDRESS NAME` finds NAME by mDNS and talks with it as XEP-0174 says;
`flood OWN_ADDRESS COUNT` announces that many neighbours who are not there."""

import socket
import struct
import sys
import threading

from zeroconf import IPVersion, ServiceBrowser, Zeroconf

SERVICE = "_presence._tcp.local."


class Stream:
    def __init__(self, address, port, name):
        self.socket = socket.create_connection((address, port), timeout=10)
        self.heard = b""
        self.say(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            f" from='script@elsewhere' to='{name}' version='1.0'>"
        )

    def say(self, text):
        self.socket.sendall(text.encode())

    def until(self, part):
        """Reads until this was said."""
        while part.encode() not in self.heard:
            data = self.socket.recv(4096)
            if not data:
                raise SystemExit(f"closed before {part!r}: {self.heard!r}")
            self.heard += data
        text, self.heard = self.heard.decode(), b""
        return text


def find(own, name):
    found, there = [], threading.Event()

    class Listener:
        def add_service(self, zeroconf, kind, instance):
            if instance == f"{name}.{SERVICE}":
                found.append(zeroconf.get_service_info(kind, instance, 5000))
                there.set()

        def update_service(self, *_):
            pass

        def remove_service(self, *_):
            pass

    zeroconf = Zeroconf(interfaces=[own], ip_version=IPVersion.V4Only)
    ServiceBrowser(zeroconf, SERVICE, Listener())
    if not there.wait(15):
        raise SystemExit("not found")
    zeroconf.close()
    return found[0]


def talk(own, name):
    info = find(own, name)
    assert info.properties[b"txtvers"] == b"1" and int(info.properties[b"port.p2pj"]) == info.port, info
    print("found", name)
    stream = Stream(info.parsed_addresses(IPVersion.V4Only)[0], info.port, name)
    if "starttls" in stream.until("</stream:features>"):
        print("features starttls")
    stream.say(f"<message to='{name}' from='script@elsewhere' type='chat'><body>hello</body></message>")
    stream.say("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
    stream.until("result")
    print("pong")
    stream.say("<iq type='get' id='2'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
    if "urn:bitween:shares:0+notify" in stream.until("</query>"):
        print("disco urn:bitween:shares:0+notify")
    stream.say("<iq type='get' id='3'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
               "<items node='urn:bitween:shares:0'/></pubsub></iq>")
    stream.until("forbidden")
    stream.say("</stream:stream>")
    stream.until("</stream:stream>")
    print("closed in order")


def label(text):
    data = text.encode()
    return bytes([len(data)]) + data


def domain(*labels):
    return b"".join(label(text) for text in labels) + b"\0"


def record(name, kind, data):
    return name + struct.pack(">HHIH", kind, 1, 120, len(data)) + data


def flood(own, count):
    service = domain("_presence", "_tcp", "local")
    host = domain("flood", "local")
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(own))
    out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    out.bind((own, 5353))
    text = b"".join(label(part) for part in ["txtvers=1", "node=urn:bitween"])
    for number in range(count):
        instance = domain(f"stranger{number}@flood", "_presence", "_tcp", "local")
        records = [
            record(service, 12, instance),
            record(instance, 33, struct.pack(">HHH", 0, 0, 9) + host),
            record(instance, 16, text),
            record(host, 1, socket.inet_aton(own)),
        ]
        packet = struct.pack(">HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)
        out.sendto(packet, ("224.0.0.251", 5353))
    print("announced", count)


if __name__ == "__main__":
    mode, own, argument = sys.argv[1:]
    if mode == "talk":
        talk(own, argument)
    else:
        flood(own, int(argument))
