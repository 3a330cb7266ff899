/** The near name of an action that the catalog of this machine's settings has: a server tells no names. */
import { parseCatalog } from '../../config/catalog.ts';
import { readSource } from '../../config/document.ts';
import { suggest } from '../../config/problem.ts';
import { loadSettings } from '../../config/settings/load-settings.ts';

/** `''` where there is no catalog to look in, or no name is near. */
export function actionHint(action: string, packageRoot: string): string {
  try {
    const { settings } = loadSettings(undefined, process.env, packageRoot);
    const { actions } = parseCatalog(readSource(settings.catalog));
    const hint = suggest(action, [...actions.keys()]);
    return hint.startsWith(': did') ? hint.slice(2) : '';
  } catch {
    // It is a help on top: an unusable catalog here is no fault of the question.
    return '';
  }
}
