/** The driver of stores in a directory: `embedded:DIR`. */
import type { Driver } from '../driver.ts';

const SCHEME = 'embedded:';

export const embeddedDriver: Driver = {
  forms: ['embedded:DIR'],
  takes: (address) => address.startsWith(SCHEME) && address.length > SCHEME.length,
  directory: directoryOf,
  async open({ address }) {
    const { openEmbeddedStore } = await import('./store.ts');
    return openEmbeddedStore(directoryOf(address));
  },
};

function directoryOf(address: string): string {
  return address.slice(SCHEME.length);
}
