/**
 * Clusters that a program starts itself.
 *
 * @module
 * @example
 * import { Client } from '@farm/client';
 * import { LocalCluster } from '@farm/cluster';
 *
 * await using cluster = await LocalCluster.start({ workers: 2, threadsPerWorker: 2 });
 * await using client = new Client(cluster);
 * console.log(await client.submit((x: number) => x + 1, 41).result());
 */
export { LocalCluster } from './local-cluster.ts';
export type { LocalClusterOptions } from './local-cluster.ts';
