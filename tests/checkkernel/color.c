/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Video in and out: every kind of format, strides, odd sizes, and the way there and back. */
#include "checkkernel.h"

#include <string.h>

/* ------------------------------------------------------------------------------------- formats */

struct format {
    const char *name;
    int components;
    bool alpha, yuv;
    int sample_bytes, depth, sub_x, sub_y;
    struct kn_component at[4];
};

#define YUV false, true
#define RGB false, false
static const struct format formats[] = {
    {"RGB", 3, RGB, 1, 8, 0, 0, {{0, 0, 3}, {0, 1, 3}, {0, 2, 3}}},
    {"NV12", 3, YUV, 1, 8, 1, 1, {{0, 0, 1}, {1, 0, 2}, {1, 1, 2}}},
    {"BGRA", 3, true, false, 1, 8, 0, 0, {{0, 2, 4}, {0, 1, 4}, {0, 0, 4}, {0, 3, 4}}},
    {"P010", 3, YUV, 2, 10, 1, 1, {{0, 0, 2, 6}, {1, 0, 4, 6}, {1, 2, 4, 6}}},
    {"GRAY8", 1, YUV, 1, 8, 0, 0, {{0, 0, 1}}},
    {"I420", 3, YUV, 1, 8, 1, 1, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}}},
    {"YV12", 3, YUV, 1, 8, 1, 1, {{0, 0, 1}, {2, 0, 1}, {1, 0, 1}}},
    {"NV21", 3, YUV, 1, 8, 1, 1, {{0, 0, 1}, {1, 1, 2}, {1, 0, 2}}},
    {"Y444", 3, YUV, 1, 8, 0, 0, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}}},
    {"BGR", 3, RGB, 1, 8, 0, 0, {{0, 2, 3}, {0, 1, 3}, {0, 0, 3}}},
    {"RGBA", 3, true, false, 1, 8, 0, 0, {{0, 0, 4}, {0, 1, 4}, {0, 2, 4}, {0, 3, 4}}},
    {"ARGB", 3, true, false, 1, 8, 0, 0, {{0, 1, 4}, {0, 2, 4}, {0, 3, 4}, {0, 0, 4}}},
    {"RGBx", 3, RGB, 1, 8, 0, 0, {{0, 0, 4}, {0, 1, 4}, {0, 2, 4}}},
    {"BGRx", 3, RGB, 1, 8, 0, 0, {{0, 2, 4}, {0, 1, 4}, {0, 0, 4}}},
    {"GBR", 3, RGB, 1, 8, 0, 0, {{2, 0, 1}, {0, 0, 1}, {1, 0, 1}}},
    {"YUY2", 3, YUV, 1, 8, 1, 0, {{0, 0, 2}, {0, 1, 4}, {0, 3, 4}}},
    {"Y42B", 3, YUV, 1, 8, 1, 0, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}}},
    {"YUV9", 3, YUV, 1, 8, 2, 2, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}}},
    {"AYUV", 3, true, true, 1, 8, 0, 0, {{0, 1, 4}, {0, 2, 4}, {0, 3, 4}, {0, 0, 4}}},
    {"A420", 3, true, true, 1, 8, 1, 1, {{0, 0, 1}, {1, 0, 1}, {2, 0, 1}, {3, 0, 1}}},
    {"I420_10LE", 3, YUV, 2, 10, 1, 1, {{0, 0, 2}, {1, 0, 2}, {2, 0, 2}}},
    {"Y444_12LE", 3, YUV, 2, 12, 0, 0, {{0, 0, 2}, {1, 0, 2}, {2, 0, 2}}},
    {"GRAY16_LE", 1, YUV, 2, 16, 0, 0, {{0, 0, 2}}},
    {"GRAY8 as RGB", 1, RGB, 1, 8, 0, 0, {{0, 0, 1}}},
    {"RGBA64_LE", 3, true, false, 2, 16, 0, 0, {{0, 0, 8}, {0, 2, 8}, {0, 4, 8}, {0, 6, 8}}},
};
#undef YUV
#undef RGB

/* variant chooses range and matrix. */
static struct kn_video video_of(const struct format *f, int width, int height, int variant) {
    static const double weights[][2] = {{0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}};
    double unit = (double)(1u << (f->depth - 8));
    struct kn_video video = {
        .width = width,
        .height = height,
        .components = f->components,
        .alpha = f->alpha,
        .sample_bytes = (uint8_t)f->sample_bytes,
        .depth = (uint8_t)f->depth,
        .sub_x = (uint8_t)f->sub_x,
        .sub_y = (uint8_t)f->sub_y,
    };

    memcpy(video.component, f->at, sizeof f->at);
    if (f->yuv)
        kn_video_set_yuv(&video, weights[variant % 3][0], weights[variant % 3][1], variant % 2);
    else if (variant % 2)
        kn_video_set_rgb(&video, 16 * unit, 235 * unit);
    else
        kn_video_set_rgb(&video, 0, 256 * unit - 1);
    return video;
}

/* ------------------------------------------------------------------------------------ pictures */

static bool is_chroma(int c) {
    return c == 1 || c == 2;
}

static int64_t samples(int64_t size, int sub) {
    return (size + (1 << sub) - 1) >> sub;
}

static int component_count(const struct kn_video *video) {
    return video->alpha ? 4 : video->components; /* the fourth is alpha wherever it is used */
}

static bool has_component(const struct kn_video *video, int c) {
    return c < video->components || (c == 3 && video->alpha);
}

static int64_t across(const struct kn_video *video, int c) {
    return samples(video->width, is_chroma(c) ? video->sub_x : 0);
}

static int64_t down(const struct kn_video *video, int c) {
    return samples(video->height, is_chroma(c) ? video->sub_y : 0);
}

/* Bytes of a row and rows of a plane; 0 where there is no such plane. */
static void plane_size(const struct kn_video *video, int plane, int64_t *row, int64_t *rows) {
    *row = *rows = 0;
    for (int c = 0; c < component_count(video); c++) {
        const struct kn_component *at = &video->component[c];
        int64_t end = at->offset_bytes + (across(video, c) - 1) * at->step_bytes;
        if (!has_component(video, c) || at->plane != plane)
            continue;
        if (end + video->sample_bytes > *row)
            *row = end + video->sample_bytes;
        if (down(video, c) > *rows)
            *rows = down(video, c);
    }
}

/* Where a plane of one picture lies: offset of its first row and signed stride. */
struct plane {
    uint64_t offset;
    int64_t stride;
};

static void add_plane(struct ck_memory *memory, const struct kn_video *video, int image, int plane,
                      int64_t pad, bool upside_down, struct plane *to) {
    int64_t row, rows;
    uint64_t offset;

    plane_size(video, plane, &row, &rows);
    if (rows == 0)
        return;
    offset = ck_reserve(memory, image, (uint64_t)((row + pad) * rows), false);
    to->stride = upside_down ? -(row + pad) : row + pad;
    to->offset = offset + (upside_down ? (uint64_t)((row + pad) * (rows - 1)) : 0);
}

static void fill_codes(struct ck_memory *memory, const struct ck_region *region, int depth) {
    for (int64_t i = 0; i < ck_region_count(region); i++) {
        unsigned code = (unsigned)ck_below(memory->ck, INT64_C(1) << depth) << region->shift;
        uint8_t *p = memory->image[region->image].bytes + ck_region_at(region, i);
        p[0] = (uint8_t)code;
        if (region->word)
            p[1] = (uint8_t)(code >> 8);
    }
}

static void add_component(struct ck_memory *memory, const struct kn_video *video, int image,
                          enum ck_role role, int c, const struct plane *planes) {
    const struct kn_component *at = &video->component[c];
    struct ck_region region = {
        .role = role,
        .image = image,
        .offset = planes[at->plane].offset + at->offset_bytes,
        .word = video->sample_bytes == 2,
        .shift = at->shift,
        .dtype = KN_U8,
        .rank = 2,
        .dim = {down(video, c), across(video, c)},
        .stride_bytes = {planes[at->plane].stride, at->step_bytes},
    };

    ck_region_add(memory, &region);
    if (role != CK_OUT)
        fill_codes(memory, &region, video->depth);
}

/* One picture: its planes, its samples, and its kn_picture at slot_offset of a slot. */
static void add_picture(struct ck_memory *memory, const struct kn_video *video, enum kn_slot slot,
                        enum ck_role role, int64_t pad, bool upside_down, uint64_t slot_offset) {
    int image = slot == KN_SLOT_IN ? CK_PICTURES_IN : CK_PICTURES_OUT;
    struct kn_picture picture = {{0}};
    struct plane planes[KN_MAX_PLANES] = {{0}};

    for (int p = 0; p < KN_MAX_PLANES; p++) {
        add_plane(memory, video, image, p, pad, upside_down, &planes[p]);
        picture.stride_bytes[p] = (ptrdiff_t)planes[p].stride;
        if (planes[p].stride != 0)
            memory->pointer[memory->pointers++] = (struct ck_pointer){
                (int)slot, image,
                slot_offset + offsetof(struct kn_picture, plane) + (uint64_t)p * sizeof(void *),
                planes[p].offset};
    }
    memcpy(memory->image[slot].bytes + slot_offset, &picture, sizeof picture);
    for (int c = 0; c < component_count(video); c++)
        if (has_component(video, c))
            add_component(memory, video, image, role, c, planes);
}

/*
 * frames pictures. The slot's image begins with them: kernels find the array at the base of the
 * slot, so the array takes the place of what ck_memory_new() reserved there.
 */
static void add_pictures(struct ck_memory *memory, const struct kn_video *video, enum kn_slot slot,
                         enum ck_role role, int64_t frames, int64_t pad, bool upside_down) {
    ck_reserve(memory, (int)slot, (uint64_t)frames * sizeof(struct kn_picture), false);
    for (int64_t t = 0; t < frames; t++)
        add_picture(memory, video, slot, role, pad, upside_down,
                    (uint64_t)t * sizeof(struct kn_picture));
}

/* ---------------------------------------------------------------------------------------- cases */

struct shape {
    int width, height;
    int64_t extra; /* rows and columns of the network's input beyond the picture */
    int64_t frames, pad;
    bool upside_down;
};

static const struct shape shapes[] = {
    {8, 6, 0, 1, 0, false},  {5, 3, 2, 2, 7, false},   {1, 1, 0, 1, 0, false},
    {17, 2, 1, 1, 3, true},  {64, 33, 0, 1, 16, true}, {31, 13, 3, 3, 1, false},
    {2, 19, 0, 1, 0, false}, {1, 7, 2, 1, 5, true},    {130, 5, 0, 1, 2, false},
    {3, 1, 0, 2, 0, false},
};

static void network_dims(const struct shape *s, int64_t dim[4]) {
    dim[0] = s->frames;
    dim[1] = (s->height + 1) / 2 + s->extra;
    dim[2] = (s->width + 1) / 2 + s->extra;
    dim[3] = 12;
}

static enum kn_dtype half_type(int i) {
    return i % 2 ? KN_BF16 : KN_F16;
}

static void one_color_in(struct ck *ck, const struct format *f, const struct shape *s, int i) {
    struct kn_color_in_args a = {.video = video_of(f, s->width, s->height, i), .first = i % 3};
    struct ck_memory *memory;
    int64_t dim[4];

    if (!ck_begin(ck, "color_in %s %dx%d, %d frames from %d, variant %d", f->name, s->width,
                  s->height, (int)s->frames, (int)a.first, i))
        return;
    memory = ck_memory_new(ck);
    network_dims(s, dim);
    add_pictures(memory, &a.video, KN_SLOT_IN, CK_IN, a.first + s->frames, s->pad, s->upside_down);
    a.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, dim);
    if (i % 3)
        a.half = ck_image(memory, CK_OUT, KN_SLOT_WORK, half_type(i), 0, dim);
    ck_check(memory, KN_OP_COLOR_IN, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_color_in(struct ck *ck) {
    int variant = 0;

    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (size_t f = 0; f < CK_COUNT(formats); f++)
            one_color_in(ck, &formats[f], &shapes[s], variant++);
}

static void one_color_out(struct ck *ck, const struct format *f, const struct shape *s, int i) {
    struct kn_color_out_args a = {.video = video_of(f, s->width, s->height, i),
                                  .copy_alpha = f->alpha && i % 2};
    struct ck_memory *memory;
    int64_t dim[4];

    if (!ck_begin(ck, "color_out %s %dx%d, %d frames, variant %d", f->name, s->width, s->height,
                  (int)s->frames, i))
        return;
    memory = ck_memory_new(ck);
    network_dims(s, dim);
    if (a.copy_alpha)
        add_pictures(memory, &a.video, KN_SLOT_IN, CK_IN, s->frames, s->pad + 1, false);
    add_pictures(memory, &a.video, KN_SLOT_OUT, CK_OUT, s->frames, s->pad, s->upside_down);
    a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, dim);
    ck_check(memory, KN_OP_COLOR_OUT, &a, CK_F32);
    ck_memory_free(memory);
}

/* ------------------------------------------------------------------------------ there and back */

static void compare_pictures(struct ck *ck, const struct ck_loaded *loaded) {
    const struct ck_memory *memory = loaded->memory;
    int outputs = 0;

    for (int r = 0; r < memory->regions; r++) {
        const struct ck_region *out = &memory->region[r], *in = NULL;
        if (out->image != CK_PICTURES_OUT)
            continue;
        for (int q = 0, seen = 0; q < memory->regions && !in; q++)
            if (memory->region[q].image == CK_PICTURES_IN && seen++ == outputs)
                in = &memory->region[q];
        outputs++;
        for (int64_t i = 0; i < ck_region_count(out); i++)
            if (ck_value(out, loaded->bytes[CK_PICTURES_OUT], i) !=
                ck_value(in, loaded->bytes[CK_PICTURES_IN], i)) {
                ck_fail(ck, "component %d is not what it was", (int)(outputs - 1));
                return;
            }
    }
}

/* A picture that nothing changed comes out as it went in, with every code there is. */
static void round_trip(struct ck *ck, struct kn_dev *dev, const struct format *f,
                       const struct shape *s, int variant) {
    struct kn_color_in_args in = {.video = video_of(f, s->width, s->height, variant)};
    struct kn_color_out_args out = {.video = in.video, .copy_alpha = f->alpha};
    struct ck_memory *memory;
    struct ck_loaded loaded;
    struct kn_exec *first = NULL, *second = NULL;
    int64_t dim[4];

    if (!ck_begin(ck, "color_out after color_in %s %dx%d", f->name, s->width, s->height))
        return;
    memory = ck_memory_new(ck);
    network_dims(s, dim);
    add_pictures(memory, &in.video, KN_SLOT_IN, CK_IN, s->frames, s->pad, s->upside_down);
    add_pictures(memory, &in.video, KN_SLOT_OUT, CK_OUT, s->frames, 0, false);
    in.out = out.x = ck_image(memory, CK_SCRATCH, KN_SLOT_WORK, KN_F32, 0, dim);
    if (ck_load(&loaded, memory, dev, dev == ck->dev, 0)) {
        first = ck_compile(&loaded, KN_OP_COLOR_IN, &in);
        second = ck_compile(&loaded, KN_OP_COLOR_OUT, &out);
        if (first && second && ck_run(&loaded, first, 0, 0) && ck_run(&loaded, second, 0, 0) &&
            ck_read_back(&loaded))
            compare_pictures(ck, &loaded);
    }
    kn_exec_free(first);
    kn_exec_free(second);
    ck_unload(&loaded);
    ck_memory_free(memory);
}

void ck_test_color_out(struct ck *ck) {
    int variant = 0;

    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (size_t f = 0; f < CK_COUNT(formats); f++) {
            one_color_out(ck, &formats[f], &shapes[s], variant);
            if (s % 4 == 0) {
                round_trip(ck, ck->ref, &formats[f], &shapes[s], variant);
                round_trip(ck, ck->dev, &formats[f], &shapes[s], variant);
            }
            variant++;
        }
}

/* ------------------------------------------------------------------------------------ sabotage */

bool ck_sabotage_color_in(struct kn_color_in_args *a, int way) {
    struct kn_component first = a->video.component[0];

    switch (way) {
    case 0:
        a->video.to_rgb[1][3] += 0.01f;
        return true;
    case 1:
        if (a->video.components != 3 || a->video.sub_x > 0)
            return false;
        a->video.component[0] = a->video.component[2];
        a->video.component[2] = first;
        return true;
    case 2:
        a->half.rank = 0;
        return true;
    default:
        if (a->first == 0)
            return false;
        a->first--;
        return true;
    }
}

bool ck_sabotage_color_out(struct kn_color_out_args *a, int way) {
    switch (way) {
    case 0:
        a->video.from_rgb[0][3] += 3;
        return true;
    case 1:
        if (!a->copy_alpha)
            return false;
        a->copy_alpha = false;
        return true;
    case 2:
        if (a->video.width < 2)
            return false;
        a->video.width--;
        return true;
    default:
        return false;
    }
}

/* ----------------------------------------------------------------------------------- benchmark */

static void bench(struct ck *ck, const char *name, bool out) {
    const struct shape s = {640, 480, 0, 1, 0, false};
    const struct format *f = formats;
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_color_in_args a = {0};
    struct kn_color_out_args b = {0};
    int64_t dim[4];

    while (strcmp(f->name, name) != 0)
        f++;
    a.video = b.video = video_of(f, s.width, s.height, 1);
    network_dims(&s, dim);
    add_pictures(memory, &a.video, KN_SLOT_IN, CK_IN, 1, 0, false);
    add_pictures(memory, &a.video, KN_SLOT_OUT, CK_OUT, 1, 0, false);
    a.out = b.x = ck_image(memory, out ? CK_IN : CK_OUT, KN_SLOT_WORK, KN_F32, 0, dim);
    /* the float side is what counts: 12 values of four bytes for four pixels, and the samples */
    ck_bench(memory, name, out ? KN_OP_COLOR_OUT : KN_OP_COLOR_IN,
             out ? (const void *)&b : (const void *)&a,
             (struct ck_work){.bytes = 640. * 480 * (12 + (f->sub_x ? 1.5 : 3))});
    ck_memory_free(memory);
}

void ck_bench_color_in(struct ck *ck) {
    bench(ck, "NV12", false);
    bench(ck, "RGB", false);
}

void ck_bench_color_out(struct ck *ck) {
    bench(ck, "NV12", true);
    bench(ck, "RGB", true);
}
