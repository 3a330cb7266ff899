/** Every store passes the same contract: one line each. */
import { FEED_LENGTH } from '../../src/store/embedded/commit.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { describeStore, type Subject } from './contract.ts';

const memory = async (): Promise<Subject> => {
  const store = openMemoryStore({ feedLength: 50 });
  return { store: () => store, reopen: async () => {}, feedLength: 50 };
};

const embedded = (reopens: boolean) => async (): Promise<Subject> => {
  const directory = temporaryDirectory();
  let store = openEmbeddedStore(directory);
  return {
    store: () => store,
    async reopen(): Promise<void> {
      if (!reopens) return;
      await store.close();
      store = openEmbeddedStore(directory);
    },
    feedLength: FEED_LENGTH,
  };
};

describeStore('memory store', memory);
describeStore('embedded store', embedded(false));
describeStore('embedded store, opened again wherever it could forget', embedded(true));
