import type { BuiltinPlugin } from '@farm/protocol';

import { archive } from './archive.ts';
import { copyOut } from './copy-out.ts';
import { environment } from './environment.ts';
import { npmInstall } from './npm-install.ts';
import { upload } from './upload.ts';

/** The plugins that come with farm, by the names that clients ask for them by. */
export const BUILTIN_PLUGINS: Readonly<Record<BuiltinPlugin['name'], unknown>> = {
  archive,
  'copy-out': copyOut,
  environment,
  'npm-install': npmInstall,
  upload,
};
