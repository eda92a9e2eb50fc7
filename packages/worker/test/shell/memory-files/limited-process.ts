/** Prints whether a large result gets a file in memory in this process. */
import { ResultFiles } from '../../../src/shell/memory-files/result-files.ts';

const results = new ResultFiles(Infinity);
const memory = results.allocate(40_000_000);
memory[39_999_999] = 1;
console.log(results.handOver(memory) === undefined ? 'plain' : 'in a file');
