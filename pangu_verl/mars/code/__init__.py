"""The code reward: extract, run apart from everything, compare outside.

source, rewards, options       the reward and what configuration says of it
extraction, rows, foreign_rows the program in a response; the tests of a row, ours and those of others
pool, warm_process, launching  warm processes that fork a child for each test
running, outcomes, comparison  one test of one program, and what its answers are compared with
wire                           what crosses the border: data, never objects
sandbox/                       the layers of isolation
inside/                        what runs inside, beside the program and beside the test's own code
"""
