import { Client } from '@farm/client';
const client = new Client(process.argv[2]!);
console.log(await client.submit((x: number) => x + 1, 41).result());
await client.shutdown();
console.log(String(client));
