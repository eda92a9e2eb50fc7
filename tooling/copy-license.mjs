// Runs in the folder of a package before it is packed: every published package carries the licence.
import { copyFileSync } from 'node:fs';

copyFileSync(new URL('../LICENSE', import.meta.url), 'LICENSE');
