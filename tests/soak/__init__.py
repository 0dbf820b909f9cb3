"""The soak: a real proxy under mixed load for twenty minutes, and what it keeps of it afterwards.

    load (callers) --sockets--> kuro serve --sockets--> upstream (the stub, a tenth of its answers faults)
         |                        |    ^-- SIGHUP each minute, with another registry
         |                        +------ log file --+
         +--- what each caller heard --> accounts <--+   records = requests, and they agree
                        /proc, /metrics --> watch --> slope --> verdict

`make soak`, or `python -m tests.soak --help`.
"""
