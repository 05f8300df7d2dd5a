"""Callbacks that fault on threads of Python's; with -X faulthandler beside a handler that takes
every fault that reaches it for fatal."""

import ctypes
import os
import threading

library = ctypes.CDLL(os.environ["GUEST"])
rounds = int(os.environ["ROUNDS"])

if library.guest_start() != 0:
    os._exit(3)


def mix():
    for count in range(rounds):
        if library.guest_mix(count) != 0:
            os._exit(1)


threads = [threading.Thread(target=mix) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.guest_finish()
os._exit(200)
