"""Functions that whoever runs the functions of strangers must live with. Each imports what it uses, and travels with its
code, as what users type does.
"""


def by_value(function):
    """Pickled whole: by its name no worker could find it."""
    function.__module__ = "__main__"
    return function


@by_value
def leave():
    import os

    os._exit(7)


@by_value
def endless():
    while True:
        pass


@by_value
def eat():
    held = []
    while True:
        held.append(bytearray(50_000_000))


@by_value
def fork():
    import os

    while True:
        os.fork()


@by_value
def speak():
    while True:
        print("x" * 1000)


@by_value
def close():
    import os

    os.closerange(0, 4096)
