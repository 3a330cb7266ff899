/**
 * Calls back when the LMDB file may have changed: after commits of this process, and after writes of others, which
 * inotify reports. Only a hint: readers also poll at every heartbeat.
 */
import { watch as watchFile, type FSWatcher } from 'node:fs';
import type { OnChange } from '../store.ts';

/** After a write of another process, it is looked again after these times, ms. */
const FOLLOW_UP_MS = [10, 50, 250];

export class ChangeWatch {
  readonly #file: string;
  readonly #beforeNotify: () => void;
  readonly #listeners = new Set<OnChange>();
  #watcher: FSWatcher | undefined;
  #followUp: NodeJS.Timeout | undefined;

  /** @param beforeNotify called before the listeners, so that they read the newest commit */
  constructor(file: string, beforeNotify: () => void) {
    this.#file = file;
    this.#beforeNotify = beforeNotify;
  }

  /** @returns what removes the listener */
  add(onChange: OnChange): () => void {
    this.#listeners.add(onChange);
    this.#watcher ??= this.#watchFile();
    return () => void this.#listeners.delete(onChange);
  }

  notify(): void {
    this.#beforeNotify();
    for (const listener of this.#listeners) listener(undefined);
  }

  close(): void {
    this.#listeners.clear();
    this.#watcher?.close();
  }

  #watchFile(): FSWatcher | undefined {
    const onWrite = (): void => {
      this.notify();
      this.#notifyAgain(0);
    };
    try {
      return watchFile(this.#file, { persistent: false }, onWrite).on('error', () => {});
    } catch {
      return undefined;
    }
  }

  /** The file changes shortly before LMDB shows the commit to readers, and its writer may be held up in between. */
  #notifyAgain(round: number): void {
    clearTimeout(this.#followUp);
    const ms = FOLLOW_UP_MS[round];
    if (ms === undefined) return;
    this.#followUp = setTimeout(() => {
      this.notify();
      this.#notifyAgain(round + 1);
    }, ms).unref();
  }
}
