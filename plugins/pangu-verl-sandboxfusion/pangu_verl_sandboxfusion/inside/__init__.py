"""What is sent into the sandbox: plain Python 3.9 and its standard library, nothing else of this package.

``harness`` runs a test, ``remote`` lets it reach the response, ``response`` holds that in a process of its own, and
``wire`` turns values into data for the pipe between the two. Annotations are never evaluated, so they may be newer.
"""
