/** Files that settings and options name. */
import { readFileSync } from 'node:fs';

/** @param option the name of the setting @throws Error where the file cannot be read */
export function readNamedFile(option: string, file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(`${option}: \`${file}\` cannot be read: name a file that is there`, {
      cause: error,
    });
  }
}
