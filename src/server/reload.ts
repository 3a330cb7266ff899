/** The catalog and the routes of a server, which change by reloads alone. */
import type { Logger } from 'pino';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { FactsRoom } from '../facts/facts.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { readInForce, wideningOf, type InForce } from './reloadable.ts';

export class ReloadableFiles {
  readonly #settings: Settings;
  #inForce: InForce;

  /** @throws ConfigError with everything that is wrong */
  constructor(settings: Settings) {
    this.#settings = settings;
    this.#inForce = readInForce(settings);
  }

  get inForce(): InForce {
    return this.#inForce;
  }

  /** Reads the files again; where one is bad, this is logged and all of the last stay in force. @returns whether all are good */
  reload(facts: FactsRoom, metrics: Metrics, log: Logger): boolean {
    try {
      const next = readInForce(this.#settings, this.#inForce);
      const { listed: widened, count } = wideningOf(this.#inForce, next);
      this.#inForce = next;
      facts.setCatalog(next.catalog);
      metrics.reload(count === 0 ? 'ok' : 'widened');
      const { files } = next;
      if (count === 0) log.info({ files }, 'catalog and routes reloaded');
      else
        log.warn(
          { files, count, widened },
          'catalog and routes reloaded: they may allow more than before',
        );
      return true;
    } catch (error) {
      metrics.reload('refused');
      const message = error instanceof Error ? error.message : String(error);
      log.error({ error: message }, 'catalog or routes refused: the last valid ones stay in force');
      return false;
    }
  }
}
