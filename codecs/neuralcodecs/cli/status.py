"""Exit statuses, as ``--help`` and docs/cli.md list them."""

FAILED = 1
REFUSED = 2
DAMAGED = 3
INTERRUPTED = 130
TERMINATED = 143

EPILOG = """exit status:
  0    done
  1    some of several files failed (each is named on standard error), or the reader of our output went away
  2    refused: one line on standard error says why; no output
  3    decode --salvage: written, but parts were damaged
  130  interrupted (Ctrl-C)
  143  terminated (SIGTERM)"""
