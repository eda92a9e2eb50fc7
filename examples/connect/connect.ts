/** Connects and prints what is there: `node connect.ts scheduler.json` */
import { Client } from '@farm/client';

const schedulerFile = process.argv[2] ?? process.env['FARM_SCHEDULER_FILE'];
if (schedulerFile === undefined) {
  console.error('usage: connect.ts SCHEDULER_FILE');
  process.exit(2);
}
const client = new Client({ schedulerFile });
await client.ready();
console.log('client information ', String(client));
console.log('Done!');
// No close(): a client with nothing to wait for does not keep the program alive.
