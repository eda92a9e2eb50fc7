import { inprocPair } from '@farm/protocol';
import { connectionConformance } from './conformance.ts';
import { startRig } from './rig.ts';

connectionConformance('ws', async (options) => {
  const rig = await startRig(options);
  const [client, scheduler] = await Promise.all([rig.dial(options), rig.accepted()]);
  return { client, scheduler, [Symbol.asyncDispose]: () => rig.server.close() };
});

connectionConformance('inproc', (options) => {
  const { dialed, accepted } = inprocPair('client', options);
  return Promise.resolve({
    client: dialed,
    scheduler: accepted,
    [Symbol.asyncDispose]: async () => dialed.terminate(),
  });
});
