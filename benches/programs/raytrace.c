/* A ray tracer: spheres over a chequered floor, with shadows and reflections, found through a hierarchy of boxes. Only operations that
 * IEEE 754 fixes to the last bit are used. run(amount) traces `amount` rows of 160 points of a picture of 120 rows, which turns
 * with each picture, and returns a hash of the colours. */
#include "input.h"

enum { WIDTH = 160, HEIGHT = 120, SPHERES = 48, BOUNCES = 4, NODES = 2 * SPHERES };

struct vector {
	double x, y, z;
};

struct sphere {
	struct vector centre, colour;
	double radius, mirror;
};

/* A box around spheres `from` to `to`; its parts, if any, are at `left` and behind. */
struct node {
	struct vector low, high;
	int from, to, left;
};

struct hit {
	double distance;
	struct vector normal, colour;
	double mirror;
};

static struct sphere spheres[SPHERES];
static struct node nodes[NODES];
static int nodes_used;

static struct vector add(struct vector a, struct vector b) { return (struct vector){ a.x + b.x, a.y + b.y, a.z + b.z }; }
static struct vector subtract(struct vector a, struct vector b) { return (struct vector){ a.x - b.x, a.y - b.y, a.z - b.z }; }
static struct vector scale(struct vector a, double by) { return (struct vector){ a.x * by, a.y * by, a.z * by }; }
static double dot(struct vector a, struct vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static struct vector unit(struct vector a) { return scale(a, 1 / __builtin_sqrt(dot(a, a))); }
static double smaller(double a, double b) { return a < b ? a : b; }
static double greater(double a, double b) { return a > b ? a : b; }
static double axis_of(struct vector a, int axis) { return axis == 0 ? a.x : axis == 1 ? a.y : a.z; }

/* ---- the scene ---- */

static void build(int node, int from, int to)
{
	struct node *n = &nodes[node];
	*n = (struct node){ { 1e9, 1e9, 1e9 }, { -1e9, -1e9, -1e9 }, from, to, -1 };
	for (int i = from; i < to; i++) {
		const struct sphere *s = &spheres[i];
		n->low = (struct vector){ smaller(n->low.x, s->centre.x - s->radius), smaller(n->low.y, s->centre.y - s->radius), smaller(n->low.z, s->centre.z - s->radius) };
		n->high = (struct vector){ greater(n->high.x, s->centre.x + s->radius), greater(n->high.y, s->centre.y + s->radius), greater(n->high.z, s->centre.z + s->radius) };
	}
	if (to - from <= 3) return;
	struct vector size = subtract(n->high, n->low);
	int axis = size.x > size.y ? (size.x > size.z ? 0 : 2) : (size.y > size.z ? 1 : 2);
	for (int i = from + 1; i < to; i++) { /* sorted by the place of their centres */
		struct sphere moved = spheres[i];
		int at = i;
		for (; at > from && axis_of(spheres[at - 1].centre, axis) > axis_of(moved.centre, axis); at--) spheres[at] = spheres[at - 1];
		spheres[at] = moved;
	}
	int left = nodes_used, middle = (from + to) / 2;
	nodes_used += 2;
	n->left = left;
	build(left, from, middle);
	build(left + 1, middle, to);
}

static struct vector random_vector(uint64_t *state)
{
	struct vector v;
	v.x = next_random(state) * (1.0 / 4294967296.0);
	v.y = next_random(state) * (1.0 / 4294967296.0);
	v.z = next_random(state) * (1.0 / 4294967296.0);
	return v;
}

static void make_scene(void)
{
	uint64_t state = 20111;
	for (int i = 0; i < SPHERES; i++) {
		struct sphere *s = &spheres[i];
		struct vector place = random_vector(&state), colour = random_vector(&state);
		s->radius = 0.25 + 0.6 * (next_random(&state) * (1.0 / 4294967296.0));
		s->centre = (struct vector){ 10 * place.x - 5, s->radius + 2 * place.y, 9 * place.z };
		s->colour = add(scale(colour, 0.8), (struct vector){ 0.2, 0.2, 0.2 });
		s->mirror = random_below(&state, 3) ? 0.15 : 0.7;
	}
	nodes_used = 1;
	build(0, 0, SPHERES);
}

/* ---- rays ---- */

static int meets_box(const struct node *n, struct vector from, struct vector inverse, double nearest)
{
	double x0 = (n->low.x - from.x) * inverse.x, x1 = (n->high.x - from.x) * inverse.x;
	double y0 = (n->low.y - from.y) * inverse.y, y1 = (n->high.y - from.y) * inverse.y;
	double z0 = (n->low.z - from.z) * inverse.z, z1 = (n->high.z - from.z) * inverse.z;
	double enter = greater(greater(smaller(x0, x1), smaller(y0, y1)), smaller(z0, z1));
	double leave = smaller(smaller(greater(x0, x1), greater(y0, y1)), greater(z0, z1));
	return enter <= leave && leave > 0 && enter < nearest;
}

/* The distance to a sphere, or nothing below 1e-6. */
static double meets_sphere(const struct sphere *s, struct vector from, struct vector way)
{
	struct vector to = subtract(s->centre, from);
	double along = dot(to, way), inside = s->radius * s->radius - dot(to, to) + along * along;
	if (inside < 0) return 0;
	double half = __builtin_sqrt(inside);
	return along - half > 1e-6 ? along - half : along + half;
}

/* The sphere that a ray meets first, nearer than `*nearest`; -1: none. With `any`, the first that is found. */
static int first_sphere(struct vector from, struct vector way, double *nearest, int any)
{
	struct vector inverse = { 1 / way.x, 1 / way.y, 1 / way.z };
	int stack[32], depth = 0, found = -1;
	stack[depth++] = 0;
	while (depth) {
		const struct node *n = &nodes[stack[--depth]];
		if (!meets_box(n, from, inverse, *nearest)) continue;
		if (n->left >= 0) {
			stack[depth++] = n->left;
			stack[depth++] = n->left + 1;
			continue;
		}
		for (int i = n->from; i < n->to; i++) {
			double distance = meets_sphere(&spheres[i], from, way);
			if (distance <= 1e-6 || distance >= *nearest) continue;
			*nearest = distance;
			found = i;
			if (any) return found;
		}
	}
	return found;
}

static int first_hit(struct vector from, struct vector way, struct hit *hit)
{
	double nearest = 1e9;
	int sphere = first_sphere(from, way, &nearest, 0);
	double floor = way.y < 0 ? -from.y / way.y : 0;
	if (floor > 1e-6 && floor < nearest) {
		struct vector at = add(from, scale(way, floor));
		int dark = ((int)(at.x + 1000) + (int)(at.z + 1000)) & 1;
		*hit = (struct hit){ floor, { 0, 1, 0 }, dark ? (struct vector){ 0.2, 0.2, 0.25 } : (struct vector){ 0.9, 0.9, 0.85 }, 0.1 };
		return 1;
	}
	if (sphere < 0) return 0;
	const struct sphere *s = &spheres[sphere];
	struct vector normal = scale(subtract(add(from, scale(way, nearest)), s->centre), 1 / s->radius);
	*hit = (struct hit){ nearest, normal, s->colour, s->mirror };
	return 1;
}

static struct vector trace(struct vector from, struct vector way)
{
	static const struct vector light = { -4, 9, -3 };
	struct vector sum = { 0, 0, 0 };
	double weight = 1;
	for (int bounce = 0; bounce < BOUNCES; bounce++) {
		struct hit hit;
		if (!first_hit(from, way, &hit)) {
			double up = 0.5 + 0.5 * way.y;
			return add(sum, scale((struct vector){ 0.4 + 0.2 * up, 0.5 + 0.3 * up, 0.9 }, weight));
		}
		struct vector at = add(from, scale(way, hit.distance)), to_light = subtract(light, at);
		double far = __builtin_sqrt(dot(to_light, to_light)), shade = 0.15;
		struct vector direction = scale(to_light, 1 / far);
		double facing = dot(hit.normal, direction);
		if (facing > 0 && first_sphere(add(at, scale(hit.normal, 1e-5)), direction, &far, 1) < 0) shade += 0.85 * facing;
		sum = add(sum, scale(hit.colour, weight * shade * (1 - hit.mirror)));
		weight *= hit.mirror;
		if (weight < 0.01) break;
		from = add(at, scale(hit.normal, 1e-5));
		way = unit(subtract(way, scale(hit.normal, 2 * dot(way, hit.normal))));
	}
	return sum;
}

static unsigned level(double brightness) { return brightness >= 1 ? 255 : (unsigned)(brightness * 256); }

int64_t run(int32_t amount)
{
	uint64_t hash = HASH_START;
	make_scene();
	for (int32_t i = 0; i < amount; i++) {
		int picture = i / HEIGHT, row = i * 7 % HEIGHT;
		struct vector eye = { (picture * 13 % 16 - 8) * 0.5, 2.5 + picture % 3, -7 };
		for (int column = 0; column < WIDTH; column++) {
			struct vector way = { (column - WIDTH / 2 + 0.5) * (1.6 / WIDTH) - eye.x * 0.08, (HEIGHT / 2 - row - 0.5) * (1.2 / HEIGHT) - 0.15, 1 };
			struct vector colour = trace(eye, unit(way));
			hash = (hash ^ (level(colour.x) << 16 | level(colour.y) << 8 | level(colour.z))) * 0x100000001b3ull;
		}
	}
	return (int64_t)hash;
}

KERNEL("raytrace", 3000)
