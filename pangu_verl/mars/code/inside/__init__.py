"""What runs inside the sandbox: the warm process that forks, the program's side and the test's side."""
