import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { CORE_FOLDERS, ROOT } from '../cores.ts';
import type { PlantedBug } from './bugs.ts';

/** A copy of the cores with a bug. Disposing removes it. */
export interface Plantation extends Disposable {
  /** For `loadCores`. */
  readonly root: string;
}

/**
 * Text with the bug in it.
 *
 * @throws Error where the text to change is not there exactly once: the core has changed, and so
 * must the bug.
 */
export function plantInto(text: string, { name, find, replace, core, file }: PlantedBug): string {
  const parts = text.split(find);
  if (parts.length !== 2) {
    throw new Error(
      `planted bug ${name}: ${core} core, ${file} has its text ${parts.length - 1} times, not once: ` +
        'change the bug along with the core',
    );
  }
  return parts.join(replace);
}

/** Copies the cores to a folder of their own and plants a bug. */
export function plant(bug: PlantedBug): Plantation {
  const root = mkdtempSync(join(tmpdir(), 'farm-planted-'));
  for (const folder of Object.values(CORE_FOLDERS)) {
    cpSync(join(ROOT, folder), join(root, folder), { recursive: true });
  }
  // The copies find the protocol's core where the originals do.
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'), 'junction');
  writeFileSync(join(root, 'package.json'), '{"type":"module"}\n');
  const path = join(root, CORE_FOLDERS[bug.core], bug.file);
  writeFileSync(path, plantInto(readFileSync(path, 'utf8'), bug));
  return { root, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}
