/** The drivers of stores. A further one is a folder, and a line here. What is not used is not loaded. */
import type { Driver, StoreSettings } from './driver.ts';
import { embeddedDriver } from './embedded/driver.ts';
import { checked } from './format/checked.ts';
import { withoutSecrets } from './redis/address.ts';
import { redisDriver } from './redis/driver.ts';
import type { Store } from './store.ts';

const DRIVERS: readonly Driver[] = [embeddedDriver, redisDriver];

/**
 * Opens the store that one line of the settings names.
 * @throws Error or StoreError where it cannot be opened; a Redis that is away is no error yet
 */
export async function openStore(settings: StoreSettings): Promise<Store> {
  return checked(await driverOf(settings.address).open(settings));
}

/**
 * The directory on this machine that an address names; `undefined`: the store is elsewhere, and may be away.
 * @throws Error naming what is supported
 */
export function storeDirectory(address: string): string | undefined {
  return driverOf(address).directory(address);
}

function driverOf(address: string): Driver {
  const driver = DRIVERS.find((one) => one.takes(address));
  if (driver !== undefined) return driver;
  const forms = DRIVERS.flatMap((one) => one.forms);
  throw new Error(
    `store: \`${withoutSecrets(address)}\` is not supported: use ${forms.slice(0, -1).join(', ')} or ${forms.at(-1)}`,
  );
}
