// Methods with settings, written as the kernel writes them: "Integrated gradients:steps=128:baseline=blurred".

/** The name of a method without its settings. */
export const plainOf = (name) => name.split(":")[0];

/** The values of a method that is chosen by `name`, by setting: its defaults, and those written in the name. */
export function settingsOf(name, settings) {
  const given = Object.fromEntries(
    name
      .split(":")
      .slice(1)
      .map((pair) => pair.split("=")),
  );
  const read = ({ name: key, value, choices }) => (key in given ? (choices ? given[key] : Number(given[key])) : value);
  return Object.fromEntries(settings.map((setting) => [setting.name, read(setting)]));
}

/** The name of a method with values; those that are its defaults are not written. */
export function variantName(name, settings, values) {
  const changed = settings.filter((setting) => values[setting.name] !== setting.value);
  return [plainOf(name), ...changed.map((setting) => `${setting.name}=${values[setting.name]}`)].join(":");
}
