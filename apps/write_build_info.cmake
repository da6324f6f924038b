# Run at every build: writes apps/build_info.h, and only when the commit changed, so that one file recompiles.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
  if(DEFINED ENV{BRANCHSAE_COMMIT}) # sources without git's folder: in a container, from an archive
    set(commit $ENV{BRANCHSAE_COMMIT})
  endif()
endif()
set(text "#pragma once
namespace branchsae::apps {
inline constexpr const char* kVersion = \"${VERSION}\";
inline constexpr const char* kCommit = \"${commit}\";
inline constexpr const char* kBuildType = \"${BUILD_TYPE}\";
}  // namespace branchsae::apps
")
set(before "")
if(EXISTS ${TARGET})
  file(READ ${TARGET} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${TARGET} "${text}")
endif()
