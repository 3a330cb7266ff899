/** A whole state as the text of a file that `apply` reads, in pieces. Pure. */
import { MAX_YAML_CHARS, isTooMuchYaml } from '../../config/document.ts';
import { yamlText } from '../../config/yaml-text.ts';
import type { StateFile } from '../../config/state.ts';

/** Pieces are at least so long, but for the last one, characters. */
const PIECE_CHARS = 262_144;

/**
 * YAML ends with a line `...`, so that a file that was cut off is recognised. A state that is too large to be read as YAML
 * is written as JSON, which is YAML too and is read up to `admin.max_state_bytes`.
 * @param head a comment line of YAML
 */
export function* stateText(
  state: StateFile,
  format: 'yaml' | 'json',
  head = '',
): Generator<string, void> {
  if (format === 'yaml' && jsonChars(state) <= MAX_YAML_CHARS) {
    const text = `${head}${yamlText(state)}...\n`;
    if (!isTooMuchYaml(text)) return yield text;
  }
  yield* jsonText(state);
}

/** JSON with an entry a line, so that versions of it can be compared. */
function* jsonText(state: StateFile): Generator<string, void> {
  let piece = '{';
  const sections = Object.entries(state).filter(([, value]) => value !== undefined);
  for (const [at, [name, value]] of sections.entries()) {
    piece += `${at === 0 ? '' : ',\n'}${JSON.stringify(name)}:`;
    if (!Array.isArray(value) || value.length === 0) {
      piece += JSON.stringify(value);
      continue;
    }
    for (const [index, entry] of value.entries()) {
      piece += `${index === 0 ? '[\n' : ',\n'}${JSON.stringify(entry)}`;
      if (piece.length < PIECE_CHARS) continue;
      yield piece;
      piece = '';
    }
    piece += '\n]';
  }
  yield `${piece}}\n`;
}

/** Characters of the state as JSON, counted no further than it matters. */
function jsonChars(state: StateFile): number {
  let count = 0;
  for (const piece of jsonText(state)) {
    count += piece.length;
    if (count > MAX_YAML_CHARS) break;
  }
  return count;
}
