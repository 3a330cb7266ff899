/** Where the package is: files of `config`, `proto` and `docs` are found from here. */
import { resolve } from 'node:path';

export const PACKAGE_ROOT = resolve(import.meta.dirname, '../..');
