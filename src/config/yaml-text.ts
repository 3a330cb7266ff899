/** Values as YAML that every reader reads as they are. */
import { Document, isPair, isScalar, Scalar, visit } from 'yaml';
import { isMode, mustBeQuoted } from './scalars.ts';

/** YAML text that `parseSource` takes back: texts that look like something else are quoted. */
export function yamlText(value: unknown): string {
  const document = new Document(value);
  visit(document, {
    Scalar(_key, node, path): void {
      const parent = path.at(-1);
      if (typeof node.value !== 'string' || (isPair(parent) && isMode(parent, node))) return;
      if (mustBeQuoted(node.value)) node.type = Scalar.QUOTE_DOUBLE;
    },
    Pair(_key, { key }): void {
      // A key that is a number, boolean or null to other readers is a text here.
      if (isScalar(key) && typeof key.value === 'string' && mustBeQuoted(key.value))
        key.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return document.toString();
}
