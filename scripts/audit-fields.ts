/** docs/audit-fields.md, made from the schema of audit records. */
import * as prettier from 'prettier';

/** What is used of a JSON Schema. */
interface Schema {
  readonly title?: string;
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly $ref?: string;
  readonly $defs?: Readonly<Record<string, Schema>>;
}

const HEAD = `# Fields of audit records

Made from [\`audit-record.schema.json\`](../config/schema/audit-record.schema.json) by \`npm run gen\`. What records are for,
and how they are read, is in [audit.md](audit.md). A record is one JSON object a line; \`type\` tells which.

The field policy may put \`***\` (masked) or \`hmac:…\` (hashed) in the place of what it names, whatever stands here.`;

/** Told once, in front. */
const ALTERED = '#/$defs/altered';

/** @param schema as `recordJsonSchema` makes it @returns Markdown as `npm run format` wants it */
export async function auditFields(schema: unknown): Promise<string> {
  // Made a moment ago from the schema of ours.
  const root = schema as Schema;
  const records = (root.oneOf ?? []).map((one) => sectionOf(one.title ?? '', one));
  const parts = Object.entries(root.$defs ?? {})
    .filter(([, { properties }]) => properties !== undefined)
    .map(([name, one]) => sectionOf(name, one));
  const text = [HEAD, ...records, '## Parts', ...parts.map((part) => `#${part}`)].join('\n\n');
  const options = await prettier.resolveConfig(import.meta.filename);
  return prettier.format(text, { ...options, parser: 'markdown' });
}

function sectionOf(name: string, { properties = {}, required = [] }: Schema): string {
  const about =
    properties['type']?.const === name ? `\n${properties['type'].description ?? ''}.\n` : '';
  return [
    `## \`${name}\`\n${about}`,
    '| field | always | what | meaning |',
    '| --- | --- | --- | --- |',
    ...rowsOf('', properties, required),
  ].join('\n');
}

/** Objects that stand in one place alone are told where they stand. */
function rowsOf(
  above: string,
  properties: Readonly<Record<string, Schema>>,
  required: readonly string[],
): string[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const always = required.includes(name) ? 'yes' : '';
    const own = `| \`${above}${name}\` | ${always} | ${kindOf(schema)} | ${schema.description ?? ''} |`;
    const inner = [schema, ...(schema.anyOf ?? [])].find((one) => one.properties !== undefined);
    const below =
      inner === undefined
        ? []
        : rowsOf(`${above}${name}.`, inner.properties ?? {}, inner.required ?? []);
    return [own, ...below];
  });
}

function kindOf(schema: Schema): string {
  const { anyOf, $ref, items, type } = schema;
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``;
  if (schema.enum !== undefined)
    return schema.enum.map((one) => `\`${JSON.stringify(one)}\``).join(', ');
  if (anyOf !== undefined)
    return anyOf
      .filter((one) => one.$ref !== ALTERED)
      .map(kindOf)
      .join(' or ');
  if ($ref !== undefined) return `\`${$ref.slice($ref.lastIndexOf('/') + 1)}\``;
  if (items !== undefined) return `list of ${kindOf(items)}`;
  return typeof type === 'string' ? type : (type?.join(' or ') ?? 'any JSON');
}
