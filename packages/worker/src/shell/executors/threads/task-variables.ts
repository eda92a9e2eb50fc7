const NOTHING = (): void => {};

/**
 * Sets variables of `process.env`.
 *
 * @returns what puts back what was there before
 */
export function setVariables(
  variables: readonly (readonly [name: string, value: string])[],
): () => void {
  if (variables.length === 0) return NOTHING;
  const { env } = process;
  const before = variables.map(([name]) => [name, env[name]] as const);
  for (const [name, value] of variables) env[name] = value;
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete env[name];
      else env[name] = value;
    }
  };
}
