"""What is measured beside the coordinator; none of it is installed, and none of it runs with the tests."""
