// Loads OpenCV's `videoio` and `imgcodecs` when a picture or a webcam is first opened, instead of when the program
// starts. In Debian they bring GDAL, GDCM, GStreamer and two hundred more libraries, whose loading took most of the time
// of a short command.
//
// The four functions below are all that the program uses of the two. Each has the name that OpenCV's own has for the
// linker, so that the bindings find it first, and calls OpenCV's. Without them, or with a fifth function in use, the
// libraries are linked as any other: nothing but the start is slower.
#include <dlfcn.h>
#include <opencv2/core.hpp>

namespace {

// Returns the function of that name in a library of OpenCV. Both stay loaded, and their names are seen from everywhere, as
// if they were linked.
template <typename Function> Function *find(const char *library, const char *name) {
    void *loaded = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    void *found = loaded ? dlsym(loaded, name) : nullptr;
    if (!found) {
        const char *reason = dlerror();
        CV_Error(cv::Error::StsError, reason ? reason : "the symbol is null");
    }
    return reinterpret_cast<Function *>(found);
}

} // namespace

#define NAMED(name) __asm__(name) __attribute__((visibility("hidden")))
#define FROM_FILE "_ZN2cv12VideoCaptureC1ERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEi"
#define FROM_INDEX "_ZN2cv12VideoCaptureC1Eii"
#define DECODE "_ZN2cv8imdecodeERKNS_11_InputArrayEi"
#define ENCODE                                                                                                         \
    "_ZN2cv8imencodeERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEERKNS_11_InputArrayERSt6vectorIhSaIhEE"      \
    "RKSB_IiSaIiEE"

// A constructor takes where to make the object first, as a function's first argument.
void capture_from_file(void *made, const cv::String &name, int backend) NAMED(FROM_FILE);
void capture_from_index(void *made, int index, int backend) NAMED(FROM_INDEX);
cv::Mat decode(const cv::_InputArray &bytes, int flags) NAMED(DECODE);
bool encode(const cv::String &extension, const cv::_InputArray &picture, std::vector<uchar> &bytes,
            const std::vector<int> &options) NAMED(ENCODE);

void capture_from_file(void *made, const cv::String &name, int backend) {
    static auto *const function = find<decltype(capture_from_file)>(RVA_VIDEOIO, FROM_FILE);
    function(made, name, backend);
}

void capture_from_index(void *made, int index, int backend) {
    static auto *const function = find<decltype(capture_from_index)>(RVA_VIDEOIO, FROM_INDEX);
    function(made, index, backend);
}

cv::Mat decode(const cv::_InputArray &bytes, int flags) {
    static auto *const function = find<decltype(decode)>(RVA_IMGCODECS, DECODE);
    return function(bytes, flags);
}

bool encode(const cv::String &extension, const cv::_InputArray &picture, std::vector<uchar> &bytes,
            const std::vector<int> &options) {
    static auto *const function = find<decltype(encode)>(RVA_IMGCODECS, ENCODE);
    return function(extension, picture, bytes, options);
}
