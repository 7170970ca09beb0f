/** A first selection, as the header of a run brings it (`START` in workbench/explorer/words.py). */
export const START = {
  steps: [],
  wrong_only: true,
  order: "loss",
  descending: true,
  selected: -1,
  picked: [],
  methods: ["Grad-CAM"],
  layers: [],
  targets: ["predicted", "true"],
};
