// A process that ends at once, so that a test has a pid of one that has ended.
process.exitCode = 0;
process.disconnect();
